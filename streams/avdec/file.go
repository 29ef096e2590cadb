//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/asticode/go-astiav"

	"github.com/xacam/xacam/streams/media"
)

// File reads the video of a recording: MP4, Matroska, AVI, MPEG-TS and
// whatever else libavformat knows. Use Next for coded H.264 and H.265, or
// ReadFrame for pictures of any codec; whichever is called first decides,
// until Rewind. The same file gives the same bytes. Not safe for concurrent
// use.
type File struct {
	cfg    FileConfig
	input  *astiav.FormatContext // nil once closed
	packet *astiav.Packet
	video  *astiav.Stream
	raw    *C.AVFormatContext
	format media.Format
	params parameters
	codec  string // FFmpeg's name
	base   int64  // container time of the first picture; NoPtsValue: not seen yet
	first  packetPlace
	held   bool // packet has been read, but not used
	count  int64
	last   time.Duration
	frames *frameReader // nil until ReadFrame
}

// packetPlace identifies a packet of a file.
type packetPlace struct {
	pos, dts int64
	known    bool
}

// Open opens a video file. Captured times count from 1970-01-01 UTC.
func Open(path string) (*File, error) { return OpenFile(FileConfig{Path: path}) }

// OpenFile opens a video file and finds its video. The caller closes it.
// Nothing but local files is opened, also when the file names others.
func OpenFile(cfg FileConfig) (*File, error) {
	if cfg.Start.IsZero() {
		cfg.Start = time.Unix(0, 0)
	}
	cfg.Start = cfg.Start.UTC()
	if cfg.Threads == 0 {
		cfg.Threads = 1
	}
	if cfg.Threads < 1 || cfg.Threads > 16 {
		return nil, fmt.Errorf("open video %s: %d threads are not 1 to 16", cfg.Path, cfg.Threads)
	}
	f := &File{cfg: cfg, base: astiav.NoPtsValue}
	if err := f.open(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open video %s: %w", cfg.Path, err)
	}
	return f, nil
}

func (f *File) open() error {
	switch info, err := os.Stat(f.cfg.Path); {
	case err != nil:
		return underlying(err)
	case !info.Mode().IsRegular():
		return errors.New("not a file")
	case info.Size() == 0:
		return errors.New("the file is empty")
	}
	if f.packet == nil {
		if f.packet = astiav.AllocPacket(); f.packet == nil {
			return errMemory
		}
	}
	if err := f.openInput(); err != nil {
		return err
	}
	f.raw = (*C.AVFormatContext)(rawPointer(f.input))
	if err := f.input.FindStreamInfo(nil); err != nil {
		return fmt.Errorf("the file is damaged: %w", err)
	}
	best := int(C.xav_best_video(f.raw))
	streams := f.input.Streams()
	if best < 0 || best >= len(streams) {
		return errors.New("there is no video in it")
	}
	f.video = streams[best]
	return f.describe()
}

func (f *File) openInput() error {
	path, err := filepath.Abs(f.cfg.Path)
	if err != nil {
		return err
	}
	options := astiav.NewDictionary()
	defer options.Free()
	if err := options.Set("protocol_whitelist", "file", 0); err != nil {
		return err
	}
	input := astiav.AllocFormatContext()
	if input == nil {
		return errMemory
	}
	if err := input.OpenInput("file:"+path, nil, options); err != nil {
		return fmt.Errorf("it is not a video, or it is damaged: %w", err) // OpenInput has freed input
	}
	f.input = input
	return nil
}

// describe fills in what Format and Codec return.
func (f *File) describe() error {
	par := f.video.CodecParameters()
	f.codec = par.CodecID().Name()
	f.format = media.Format{Width: par.Width(), Height: par.Height(), Rotation: f.rotation()}
	for _, rate := range []astiav.Rational{f.video.AvgFrameRate(), f.video.RFrameRate()} {
		if rate.Den() != 0 && rate.Float64() > 0 && rate.Float64() <= 1000 {
			f.format.FPS = rate.Float64()
			break
		}
	}
	switch par.CodecID() {
	case astiav.CodecIDH264:
		f.format.Codec = media.H264
	case astiav.CodecIDHevc:
		f.format.Codec = media.H265
	default:
		return nil
	}
	params, err := parseExtra(f.format.Codec, par.ExtraData())
	if err != nil {
		return fmt.Errorf("read its parameter sets: %w", err)
	}
	f.params = params
	for _, set := range []struct {
		to   *[]byte
		from [][]byte
	}{{&f.format.VPS, params.vps}, {&f.format.SPS, params.sps}, {&f.format.PPS, params.pps}} {
		if len(set.from) > 0 {
			*set.to = set.from[0]
		}
	}
	return nil
}

// rotation reads the display matrix (ISO/IEC 14496-12, 8.3.2.3). Angles
// between the right ones go to the nearest; mirroring is ignored.
func (f *File) rotation() int {
	matrix, err := astiav.NewDisplayMatrixFromBytes(f.video.SideData(astiav.PacketSideDataTypeDisplaymatrix))
	if err != nil {
		return 0
	}
	angle := matrix.Rotation()
	if math.IsNaN(angle) {
		return 0
	}
	return (int(math.Round(angle/90))*90%360 + 360) % 360
}

// Format describes the video. Codec is 0 when it is neither H.264 nor H.265.
func (f *File) Format() media.Format { return f.format }

// Codec returns FFmpeg's name of the codec, such as "h264" or "mpeg4".
func (f *File) Codec() string { return f.codec }

// Duration returns the length of the video that the file claims; 0 when it
// does not say.
func (f *File) Duration() time.Duration {
	if f.input == nil {
		return 0
	}
	if d := f.video.Duration(); d > 0 {
		return f.toTime(d)
	}
	if d := f.input.Duration(); d > 0 {
		return time.Duration(d) * time.Microsecond
	}
	return 0
}

func (f *File) toTime(t int64) time.Duration {
	return time.Duration(astiav.RescaleQ(t, f.video.TimeBase(), astiav.NewRational(1, int(time.Second))))
}

// read puts the next video packet into f.packet. It returns io.EOF at the
// end, or an error around io.ErrUnexpectedEOF when the file was cut off.
func (f *File) read() error {
	if f.input == nil {
		return ErrClosed
	}
	if f.held {
		f.held = false
		return nil
	}
	for {
		f.packet.Unref()
		err := f.input.ReadFrame(f.packet)
		switch {
		case errors.Is(err, astiav.ErrEagain):
			continue
		case err != nil && !errors.Is(err, astiav.ErrEof):
			return fmt.Errorf("read video %s at %v: %w", f.cfg.Path, f.last.Round(time.Millisecond), err)
		case err != nil:
			return f.atEnd()
		}
		if f.packet.StreamIndex() != f.video.Index() || f.packet.Size() == 0 || f.packet.Flags().Has(astiav.PacketFlagCorrupt) {
			continue
		}
		if !f.first.known {
			f.first = packetPlace{pos: f.packet.Pos(), dts: f.packet.Dts(), known: true}
		}
		return nil
	}
}

// atEnd tells a whole file from one that was cut off.
func (f *File) atEnd() error {
	if d := f.video.Duration(); d > 0 {
		if whole := f.toTime(d); f.last+time.Second < whole*9/10 {
			return fmt.Errorf("read video %s: cut off at %v of %v: %w", f.cfg.Path,
				f.last.Round(10*time.Millisecond), whole.Round(10*time.Millisecond), io.ErrUnexpectedEOF)
		}
	}
	return io.EOF
}

// Next returns the next access unit, in decoding order, or io.EOF. PTS
// starts at 0. Parameter sets precede every key picture. It is an error
// when the codec is neither H.264 nor H.265.
func (f *File) Next() (*media.AccessUnit, error) {
	if f.format.Codec == 0 {
		return nil, fmt.Errorf("read video %s: %s is not a codec of cameras, only its pictures can be read", f.cfg.Path, f.codec)
	}
	for {
		if err := f.read(); err != nil {
			return nil, err
		}
		au := f.unit(f.packet.Data())
		if len(au.NALUs) == 0 {
			continue
		}
		au.PTS = f.packetTime()
		au.Captured = f.cfg.Start.Add(au.PTS)
		f.count++
		f.last = max(f.last, au.PTS)
		return au, nil
	}
}

// unit takes a packet apart.
func (f *File) unit(data []byte) *media.AccessUnit {
	au := &media.AccessUnit{Key: f.packet.Flags().Has(astiav.PacketFlagKey)}
	if f.params.lengthSize == 0 {
		au.NALUs = splitAnnexB(data)
	} else {
		var err error
		au.NALUs, err = splitPrefixed(data, f.params.lengthSize)
		au.Gap = err != nil
	}
	has := false
	for _, u := range au.NALUs {
		switch kindOf(f.format.Codec, u) {
		case unitKey:
			au.Key = true
		case unitSPS:
			has = true
		case unitOther, unitVPS, unitPPS:
		}
	}
	if au.Key && !has {
		au.NALUs = append(f.params.all(), au.NALUs...)
	}
	return au
}

// packetTime returns the packet's presentation time since the first picture.
// Where the container has none, decoding time or the frame rate must do.
func (f *File) packetTime() time.Duration {
	t := f.packet.Pts()
	if t == astiav.NoPtsValue {
		t = f.packet.Dts()
	}
	return f.sinceStart(t)
}

func (f *File) sinceStart(t int64) time.Duration {
	if t == astiav.NoPtsValue {
		fps := f.format.FPS
		if fps == 0 {
			fps = 25
		}
		return time.Duration(float64(f.count) / fps * float64(time.Second))
	}
	if f.base == astiav.NoPtsValue {
		if f.base = f.video.StartTime(); f.base == astiav.NoPtsValue {
			f.base = t
		}
	}
	return max(0, f.toTime(t-f.base))
}

// Rewind goes back to the first picture.
func (f *File) Rewind() error {
	if f.input == nil {
		return ErrClosed
	}
	f.frames.close()
	f.frames = nil
	f.count, f.last, f.held = 0, 0, false
	if f.seekStart() {
		return nil
	}
	f.input.CloseInput()
	f.input = nil
	if err := f.open(); err != nil {
		return fmt.Errorf("rewind video %s: %w", f.cfg.Path, err)
	}
	return nil
}

// seekStart reports whether seeking really led to the first packet.
func (f *File) seekStart() bool {
	if !f.first.known {
		return true // nothing read yet
	}
	if C.xav_seek_start(f.raw, C.int(f.video.Index()), C.int64_t(max(f.first.dts, 0))) < 0 || f.read() != nil {
		return false
	}
	if f.packet.Pos() != f.first.pos || f.packet.Dts() != f.first.dts {
		return false
	}
	f.held = true
	return true
}

// Close frees everything but the frames that are out. It is safe to call
// twice.
func (f *File) Close() error {
	f.frames.close()
	f.frames = nil
	if f.packet != nil {
		f.packet.Free()
		f.packet = nil
	}
	if f.input != nil {
		f.input.CloseInput()
		f.input = nil
	}
	return nil
}

// underlying strips the operation and path, which the caller repeats.
func underlying(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
