//go:build cgo

// The few parts of FFmpeg that go-astiav 0.15 has no methods for, and the
// loops that must not cross the Go boundary for every pixel.

#ifndef XACAM_LIBAV_H
#define XACAM_LIBAV_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>

// What of the stream is decoded; the order is that of Go's Effort.
enum { XAV_FULL, XAV_NO_LOOP_FILTER, XAV_KEY_ONLY };

// Free what the pointer leads to; nothing when it is null.
void xav_free_frame(AVFrame *f);
void xav_free_packet(AVPacket *p);

// Makes room for size bytes and libavcodec's padding in the packet's own
// buffer, which is kept from call to call. Returns 0 or an AVERROR.
int xav_reserve(AVPacket *p, int size);

// Sends the packet's first size bytes. pts comes back with the picture.
int xav_send(AVCodecContext *c, AVPacket *p, int size, int64_t pts, int key);

void xav_effort(AVCodecContext *c, int effort);
void xav_limits(AVCodecContext *c, int64_t max_pixels, int threads);

// Says in which unit the packets' times are, for best_effort_timestamp.
void xav_time_base(AVCodecContext *c, int num, int den);

int xav_best_video(AVFormatContext *f);

// Seeks to the first picture. Returns 0 or an AVERROR.
int xav_seek_start(AVFormatContext *f, int stream, int64_t first);

// Makes a scaler from the frame's size, pixel format, matrix and range.
struct SwsContext *xav_scaler(const AVFrame *f, int w, int h, int format, int flags);

// Scales the frame into dst, whose rows have stride bytes.
int xav_scale(struct SwsContext *s, const AVFrame *f, uint8_t *dst, int stride);

// Scales packed BGR into an allocated frame.
int xav_from_bgr(struct SwsContext *s, const uint8_t *src, int stride, AVFrame *f);
struct SwsContext *xav_bgr_scaler(int w, int h, int dw, int dh);

// Turns a w × h picture of bpp bytes a pixel clockwise by 0, 90, 180 or 270
// degrees into dst, whose rows are packed.
void xav_rotate(const uint8_t *src, int stride, int w, int h, int bpp, int degrees, uint8_t *dst);

// Averages the luma plane into w × h bytes. Returns 1, or 0 for a pixel
// format that has no luma plane of its own.
int xav_gray(const AVFrame *f, uint8_t *dst, int w, int h);

// Resamples the part of the frame at x, y of w × h pixels, fractions allowed,
// into dw × dh packed BGR pixels. Returns 1, or 0 for a pixel format that it
// does not know, and without memory.
int xav_crop(const AVFrame *f, double x, double y, double w, double h, uint8_t *dst, int dw, int dh);

#endif
