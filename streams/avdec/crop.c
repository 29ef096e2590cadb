//go:build cgo

#include "libav.h"

#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <math.h>

static int hop_of(double radius)
{
	return radius < 3 ? 1 : (int)(radius / 1.5);
}

// One component of a part of a frame, resampled to w × h floats on the scale
// of 8 bits. The filter is a triangle that spans two pixels of the larger grid:
// linear where it enlarges, the average of what lies between where it reduces,
// of every hop-th of it where it reduces much. Beyond the plane its edge goes on.
static int resample(const AVFrame *f, const AVComponentDescriptor *c, int pw, int ph,
		    double x, double y, double sx, double sy, int w, int h, float *out)
{
	const uint8_t *base = f->data[c->plane] + c->offset;
	double rx = sx > 1 ? sx : 1, ry = sy > 1 ? sy : 1;
	int hx = hop_of(rx), hy = hop_of(ry), wide = (int)(2 * rx / hx) + 2, high = (int)(2 * ry / hy) + 2, deep = c->depth > 8;
	float scale = 1.0f / (float)(1 << (c->depth - 8));
	int top = (int)floor(y + sy * .5 - .5 - ry), rows = ((int)ceil(y + sy * (h - .5) - .5 + ry) - top) / hy + 1;
	float *mem = av_malloc(((size_t)w * (wide + 1) + (size_t)rows * w) * sizeof(float));
	if (!mem)
		return 0;
	float *weight = mem, *line = mem + (size_t)w * (wide + 1);

	// weight holds the first column, then the weights of wide columns.
	for (int i = 0; i < w; i++) {
		double at = x + sx * (i + .5) - .5, sum = 0;
		int first = (int)ceil(at - rx);
		float *q = weight + (size_t)i * (wide + 1);
		for (int k = 0; k < wide; k++) {
			double v = 1 - fabs(first + k * hx - at) / rx;
			q[k + 1] = (float)(v > 0 ? v : 0);
			sum += q[k + 1];
		}
		q[0] = (float)first;
		for (int k = 1; k <= wide; k++)
			q[k] /= (float)sum;
	}
	for (int r = 0; r < rows; r++) {
		int row = top + r * hy < 0 ? 0 : top + r * hy >= ph ? ph - 1 : top + r * hy;
		const uint8_t *src = base + (ptrdiff_t)f->linesize[c->plane] * row;
		for (int i = 0; i < w; i++) {
			const float *q = weight + (size_t)i * (wide + 1);
			int first = (int)q[0];
			float sum = 0;
			for (int k = 0; k < wide; k++) {
				int col = first + k * hx < 0 ? 0 : first + k * hx >= pw ? pw - 1 : first + k * hx;
				const uint8_t *s = src + (ptrdiff_t)col * c->step;
				sum += q[k + 1] * (float)(deep ? (s[0] | s[1] << 8) >> c->shift : *s);
			}
			line[(size_t)r * w + i] = sum * scale;
		}
	}
	for (int j = 0; j < h; j++) {
		double at = y + sy * (j + .5) - .5;
		int first = (int)ceil((at - ry - top) / hy);
		float *o = out + (size_t)j * w, sum = 0;
		for (int i = 0; i < w; i++)
			o[i] = 0;
		for (int k = first; k < first + high; k++) {
			float v = (float)(1 - fabs(top + k * hy - at) / ry);
			if (v <= 0 || k < 0 || k >= rows)
				continue;
			sum += v;
			for (int i = 0; i < w; i++)
				o[i] += v * line[(size_t)k * w + i];
		}
		for (int i = 0; i < w; i++)
			o[i] /= sum;
	}
	av_free(mem);
	return 1;
}

static uint8_t clip(float v)
{
	return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)(v + .5f);
}

// Red and blue of the luma, as ITU-T H.273 has them for matrix_coefficients.
static void luma_of(int space, float *kr, float *kb)
{
	switch (space) {
	case AVCOL_SPC_BT709: *kr = .2126f; *kb = .0722f; break;
	case AVCOL_SPC_FCC: *kr = .30f; *kb = .11f; break;
	case AVCOL_SPC_SMPTE240M: *kr = .212f; *kb = .087f; break;
	case AVCOL_SPC_BT2020_NCL:
	case AVCOL_SPC_BT2020_CL: *kr = .2627f; *kb = .0593f; break;
	default: *kr = .299f; *kb = .114f; // BT.601, as for whole pictures
	}
}

static int full_range(const AVFrame *f)
{
	if (f->color_range != AVCOL_RANGE_UNSPECIFIED)
		return f->color_range == AVCOL_RANGE_JPEG;
	return f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P || f->format == AV_PIX_FMT_YUVJ444P;
}

int xav_crop(const AVFrame *f, double x, double y, double w, double h, uint8_t *dst, int dw, int dh)
{
	const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
	const uint64_t strange = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
				 AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
	if (!d || d->flags & strange || d->comp[0].depth < 8 || d->comp[0].depth > 16)
		return 0;
	size_t n = (size_t)dw * dh;
	float *mem = av_malloc(3 * n * sizeof(float));
	if (!mem)
		return 0;
	int ok = 1, colour = d->nb_components >= 3;
	for (int c = 0; c < (colour ? 3 : 1) && ok; c++) {
		int cw = c ? d->log2_chroma_w : 0, ch = c ? d->log2_chroma_h : 0;
		double fx = 1.0 / (1 << cw), fy = 1.0 / (1 << ch);
		ok = resample(f, &d->comp[c], -((-f->width) >> cw), -((-f->height) >> ch), x * fx, y * fy,
			      w * fx / dw, h * fy / dh, dw, dh, mem + c * n);
	}
	float kr, kb, full = full_range(f), low = full ? 0 : 16, ly = full ? 1 : 255.f / 219, lc = full ? 1 : 255.f / 224;
	luma_of(f->colorspace, &kr, &kb);
	float kg = 1 - kr - kb, vr = 2 * (1 - kr) * lc, ub = 2 * (1 - kb) * lc;
	float ug = ub * kb / kg, vg = vr * kr / kg;
	for (size_t i = 0; i < n && ok; i++, dst += 3) {
		float l = (mem[i] - low) * ly, u = colour ? mem[n + i] - 128 : 0, v = colour ? mem[2 * n + i] - 128 : 0;
		dst[0] = clip(l + ub * u);
		dst[1] = clip(l - ug * u - vg * v);
		dst[2] = clip(l + vr * v);
	}
	av_free(mem);
	return ok;
}
