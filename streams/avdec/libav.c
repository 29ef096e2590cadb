//go:build cgo

#include "libav.h"

#include <libavutil/buffer.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <string.h>

void xav_free_frame(AVFrame *f)
{
	av_frame_free(&f);
}

void xav_free_packet(AVPacket *p)
{
	av_packet_free(&p);
}

int xav_reserve(AVPacket *p, int size)
{
	size_t need = (size_t)size + AV_INPUT_BUFFER_PADDING_SIZE;
	size_t grown = need + need / 4;
	if (p->buf && p->buf->size >= need && p->buf->size <= 8 * need + (1 << 20) && av_buffer_is_writable(p->buf))
		return 0;
	av_buffer_unref(&p->buf);
	p->data = NULL;
	p->size = 0;
	p->buf = av_buffer_alloc(grown);
	if (!p->buf)
		return AVERROR(ENOMEM);
	p->data = p->buf->data;
	return 0;
}

int xav_send(AVCodecContext *c, AVPacket *p, int size, int64_t pts, int key)
{
	p->data = p->buf->data;
	p->size = size;
	memset(p->data + size, 0, AV_INPUT_BUFFER_PADDING_SIZE);
	p->pts = p->dts = pts;
	p->flags = key ? AV_PKT_FLAG_KEY : 0;
	return avcodec_send_packet(c, p);
}

void xav_effort(AVCodecContext *c, int effort)
{
	c->skip_loop_filter = effort == XAV_FULL ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
	c->skip_frame = effort == XAV_KEY_ONLY ? AVDISCARD_NONKEY : AVDISCARD_DEFAULT;
}

void xav_limits(AVCodecContext *c, int64_t max_pixels, int threads)
{
	c->max_pixels = max_pixels;
	c->thread_count = threads;
	c->thread_type = FF_THREAD_SLICE; // frame threads would each hold a picture back
}

void xav_time_base(AVCodecContext *c, int num, int den)
{
	c->pkt_timebase = (AVRational){num, den};
}

int xav_best_video(AVFormatContext *f)
{
	return av_find_best_stream(f, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
}

int xav_seek_start(AVFormatContext *f, int stream, int64_t first)
{
	return avformat_seek_file(f, stream, INT64_MIN, first, first, 0);
}

static struct SwsContext *scaler(int sw, int sh, int sf, int dw, int dh, int df, int flags)
{
	const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(sf);
	struct SwsContext *s = desc ? sws_alloc_context() : NULL;
	if (!s)
		return NULL;
	av_opt_set_int(s, "srcw", sw, 0);
	av_opt_set_int(s, "srch", sh, 0);
	av_opt_set_int(s, "src_format", sf, 0);
	av_opt_set_int(s, "dstw", dw, 0);
	av_opt_set_int(s, "dsth", dh, 0);
	av_opt_set_int(s, "dst_format", df, 0);
	av_opt_set_int(s, "sws_flags", flags, 0);
	if (desc->log2_chroma_h == 1)
		av_opt_set_int(s, "src_v_chr_pos", 128, 0); // between the two rows, as MPEG has it and vf_scale assumes
	return s;
}

struct SwsContext *xav_scaler(const AVFrame *f, int w, int h, int format, int flags)
{
	struct SwsContext *s = scaler(f->width, f->height, f->format, w, h, format, flags);
	int *inv, *table, src_range, dst_range, brightness, contrast, saturation, space = f->colorspace;
	if (!s)
		return NULL;
	if (sws_init_context(s, NULL, NULL) < 0) {
		sws_freeContext(s);
		return NULL;
	}
	if (sws_getColorspaceDetails(s, &inv, &src_range, &table, &dst_range, &brightness, &contrast, &saturation) < 0)
		return s; // nothing to convert
	if (f->color_range != AVCOL_RANGE_UNSPECIFIED)
		src_range = f->color_range == AVCOL_RANGE_JPEG;
	if (space < 1 || space > 10 || space == 8)
		space = SWS_CS_DEFAULT; // BT.601, as ffmpeg and OpenCV do
	if (format == AV_PIX_FMT_GRAY8)
		dst_range = src_range;
	sws_setColorspaceDetails(s, sws_getCoefficients(space), src_range, table, dst_range, brightness, contrast, saturation);
	return s;
}

int xav_scale(struct SwsContext *s, const AVFrame *f, uint8_t *dst, int stride)
{
	uint8_t *d[4] = {dst};
	int strides[4] = {stride};
	return sws_scale(s, (const uint8_t *const *)f->data, f->linesize, 0, f->height, d, strides);
}

struct SwsContext *xav_bgr_scaler(int w, int h, int dw, int dh)
{
	struct SwsContext *s = scaler(w, h, AV_PIX_FMT_BGR24, dw, dh, AV_PIX_FMT_YUV420P, SWS_BILINEAR | SWS_ACCURATE_RND);
	if (s && sws_init_context(s, NULL, NULL) < 0) {
		sws_freeContext(s);
		return NULL;
	}
	return s;
}

int xav_from_bgr(struct SwsContext *s, const uint8_t *src, int stride, AVFrame *f)
{
	const uint8_t *p[4] = {src};
	int strides[4] = {stride};
	return sws_scale(s, p, strides, 0, f->height, f->data, f->linesize);
}

void xav_rotate(const uint8_t *src, int stride, int w, int h, int bpp, int degrees, uint8_t *dst)
{
	// Where the source's first pixel lands, and the steps of a source column
	// and of a source row, in pixels of dst.
	ptrdiff_t origin = 0, dx = 1, dy = w;
	switch (degrees) {
	case 90: origin = h - 1; dx = h; dy = -1; break;
	case 180: origin = (ptrdiff_t)w * h - 1; dx = -1; dy = -w; break;
	case 270: origin = (ptrdiff_t)(w - 1) * h; dx = -h; dy = 1; break;
	default:
		for (int y = 0; y < h; y++)
			memcpy(dst + (size_t)y * w * bpp, src + (size_t)y * stride, (size_t)w * bpp);
		return;
	}
	for (int y = 0; y < h; y++) {
		const uint8_t *s = src + (size_t)y * stride;
		uint8_t *d = dst + (origin + y * dy) * bpp;
		if (bpp == 1) {
			for (int x = 0; x < w; x++, d += dx)
				*d = s[x];
			continue;
		}
		for (int x = 0; x < w; x++, s += 3, d += dx * 3) {
			d[0] = s[0];
			d[1] = s[1];
			d[2] = s[2];
		}
	}
}

enum { GRAY_ROWS = 2, GRAY_WIDTH = 16384 };

// Adds one row of n samples to the sums: of single pixels, 8 bits wide after
// the shift, or of pairs of bytes. Plain loops that the compiler vectorises.
static void add_row(uint16_t *restrict sum, const uint8_t *restrict row, int n, int bytes, int pairs, int shift)
{
	if (bytes == 1 && !pairs) {
		for (int x = 0; x < n; x++)
			sum[x] += row[x];
		return;
	}
	for (int x = 0; x < n; x++) {
		uint16_t v;
		memcpy(&v, row + 2 * (size_t)x, 2);
		sum[x] += pairs ? (uint16_t)((v & 0xff) + (v >> 8)) : (uint16_t)((v >> shift) & 0xff);
	}
}

// Where the luma samples are: bytes of one, and how far its upper 8 bits are
// up. Returns 0 when the format has no luma plane in native order.
static int luma_layout(enum AVPixelFormat format, int *bytes, int *shift)
{
	const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
	const uint64_t foreign = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
		AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
	if (!d || (d->flags & foreign) || d->comp[0].plane != 0 || d->comp[0].offset != 0)
		return 0;
	*bytes = d->comp[0].step;
	*shift = d->comp[0].shift + d->comp[0].depth - 8;
	return (*bytes == 1 && *shift == 0) || (*bytes == 2 && d->comp[0].depth > 8);
}

int xav_gray(const AVFrame *f, uint8_t *dst, int w, int h)
{
	uint16_t sum[GRAY_WIDTH], edge[GRAY_WIDTH + 1];
	int bytes, shift;
	if (f->width > GRAY_WIDTH || w > GRAY_WIDTH || !luma_layout(f->format, &bytes, &shift))
		return 0;

	// Blocks of four columns and more begin and end at even ones: half the sums.
	int pairs = bytes == 1 && f->width / w >= 4;
	int samples = pairs ? f->width / 2 : f->width;
	for (int x = 0; x <= w; x++)
		edge[x] = (uint16_t)((unsigned)x * (unsigned)samples / (unsigned)w);
	for (int y = 0; y < h; y++, dst += w) {
		int y0 = (int)((int64_t)y * f->height / h), y1 = (int)((int64_t)(y + 1) * f->height / h);
		int block = y1 > y0 ? y1 - y0 : 1, rows = block < GRAY_ROWS ? block : GRAY_ROWS;
		int last = 0;
		uint64_t inverse = 0;
		memset(sum, 0, sizeof(*sum) * (size_t)samples);
		for (int r = 0; r < rows; r++) {
			int row = y0 + (2 * r + 1) * block / (2 * rows);
			const uint8_t *line = f->data[0] + (ptrdiff_t)f->linesize[0] * row;
			if (row + block < f->height) // rows this far apart are not foreseen by the processor
				for (int x = 0; x < f->width * bytes; x += 64)
					__builtin_prefetch(line + (ptrdiff_t)f->linesize[0] * block + x);
			add_row(sum, line, samples, bytes, pairs, shift);
		}
		for (int x = 0; x < w; x++) {
			int x0 = edge[x], end = edge[x + 1] > x0 ? edge[x + 1] : x0 + 1;
			int n = (rows * (end - x0)) << pairs;
			unsigned total = 0;
			if (n != last) {
				inverse = (1ULL << 32) / (unsigned)n;
				last = n;
			}
			for (int i = x0; i < end; i++)
				total += sum[i];
			dst[x] = (uint8_t)((total * inverse + (1U << 31)) >> 32);
		}
	}
	return 1;
}
