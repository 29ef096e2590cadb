package rtsp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
)

var (
	testSPS = []byte{ //nolint:gochecknoglobals // a constant; 352×288
		0x67, 0x42, 0xc0, 0x0c, 0xda, 0x05, 0x82, 0x5a, 0x30, 0x16, 0xa0, 0x20, 0x20, 0x28, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0x94, 0x78, 0xa1, 0x55,
	}
	testPPS = []byte{0x68, 0xce, 0x3c, 0x80} //nolint:gochecknoglobals // a constant
)

// packet builds one packet.
func packet(seq uint16, ts uint32, marker bool, payload ...byte) *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: marker}, Payload: payload}
}

func TestDepacketizer(t *testing.T) {
	t.Parallel()
	// A first slice of a picture: type 1, first_mb_in_slice 0. Then a second one.
	first, second := []byte{0x41, 0x9a, 1}, []byte{0x41, 0x1a, 2}
	fuA := func(start, end byte) []byte { return []byte{0x5c, start<<7 | end<<6 | 1, 0x9a, 9} }
	tests := map[string]struct {
		in   []*rtp.Packet
		ts   []uint32
		gaps []bool
	}{
		"markers": {
			in: []*rtp.Packet{packet(1, 10, true, first...), packet(2, 20, true, first...)},
			ts: []uint32{10, 20}, gaps: []bool{false, false},
		},
		"two slices": {
			in: []*rtp.Packet{packet(1, 10, false, first...), packet(2, 10, true, second...)},
			ts: []uint32{10}, gaps: []bool{false},
		},
		"no markers at all": {
			in: []*rtp.Packet{packet(1, 10, false, first...), packet(2, 20, false, first...), packet(3, 30, false, first...)},
			ts: []uint32{10, 20}, gaps: []bool{false, false},
		},
		"fragments": {
			in: []*rtp.Packet{packet(1, 10, false, fuA(1, 0)...), packet(2, 10, false, fuA(0, 0)...), packet(3, 10, true, fuA(0, 1)...)},
			ts: []uint32{10}, gaps: []bool{false},
		},
		"a fragment lost": {
			in: []*rtp.Packet{
				packet(1, 10, false, fuA(1, 0)...), packet(3, 10, true, fuA(0, 1)...),
				packet(4, 20, true, first...), packet(5, 30, true, first...),
			},
			ts: []uint32{20, 30}, gaps: []bool{true, false},
		},
		"the marker lost": {
			in: []*rtp.Packet{packet(1, 10, false, first...), packet(3, 20, false, first...), packet(4, 20, true, second...)},
			ts: []uint32{20}, gaps: []bool{true},
		},
		"the first slice lost": {
			in: []*rtp.Packet{packet(1, 10, true, first...), packet(3, 20, true, second...), packet(4, 30, true, first...)},
			ts: []uint32{10, 30}, gaps: []bool{false, true},
		},
		"whole units lost": {
			in: []*rtp.Packet{packet(1, 10, true, first...), packet(9, 90, true, first...)},
			ts: []uint32{10, 90}, gaps: []bool{false, true},
		},
		"duplicate": {
			in: []*rtp.Packet{packet(1, 10, true, first...), packet(1, 10, true, first...), packet(2, 20, true, first...)},
			ts: []uint32{10, 20}, gaps: []bool{false, false},
		},
		"sequence wraps": {
			in: []*rtp.Packet{packet(65535, 10, true, first...), packet(0, 20, true, first...)},
			ts: []uint32{10, 20}, gaps: []bool{false, false},
		},
		"joined in a fragment": {
			in: []*rtp.Packet{packet(1, 10, true, fuA(0, 1)...), packet(2, 20, true, first...)},
			ts: []uint32{20}, gaps: []bool{true},
		},
		"empty payload": {
			in: []*rtp.Packet{packet(1, 10, true), packet(2, 20, true, first...)},
			ts: []uint32{20}, gaps: []bool{true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := newDepacketizer(media.H264, 1)
			require.NoError(t, err)
			var ts []uint32
			var gaps []bool
			for _, p := range tt.in {
				for _, u := range d.push(p) {
					ts, gaps = append(ts, u.ts), append(gaps, u.gap)
				}
			}
			assert.Equal(t, tt.ts, ts)
			assert.Equal(t, tt.gaps, gaps)
		})
	}
}

// TestDepacketizerH265LostMarker would merge two pictures in gortsplib alone.
func TestDepacketizerH265LostMarker(t *testing.T) {
	t.Parallel()
	d, err := newDepacketizer(media.H265, 0)
	require.NoError(t, err)
	slice := []byte{0x02, 0x01, 0x80, 7}
	out := d.push(packet(1, 10, false, slice...))
	out = append(out, d.push(packet(2, 20, true, slice...))...)
	require.Len(t, out, 2)
	assert.Equal(t, []uint32{10, 20}, []uint32{out[0].ts, out[1].ts})
	assert.Len(t, out[1].nalus, 1)
}

func TestDepacketizerBoundsEmptyFragments(t *testing.T) {
	t.Parallel()
	d, err := newDepacketizer(media.H264, 1)
	require.NoError(t, err)
	require.Empty(t, d.push(packet(0, 10, false, 0x5c, 0x81, 0x9a)))
	for i := 1; i < 3*maxUnitPackets; i++ {
		require.Empty(t, d.push(packet(uint16(i), 10, false, 0x5c, 0x01)))
		require.LessOrEqual(t, d.count, maxUnitPackets)
	}
	assert.NotZero(t, d.damaged)
}

func TestAssembler(t *testing.T) {
	t.Parallel()
	idr, p := []byte{0x65, 0x88, 1}, []byte{0x41, 0x9a, 1}
	sei := []byte{0x06, 0x06, 0x01, 0xc0, 0x80} // recovery point, recovery_frame_cnt 0
	aud := []byte{0x09, 0xf0}
	tests := map[string]struct {
		sps, pps []byte
		in       [][][]byte
		want     [][]byte // of the last one
		key      bool
	}{
		"sets in band":            {in: [][][]byte{{testSPS, testPPS, idr}}, want: [][]byte{testSPS, testPPS, idr}, key: true},
		"sets from the SDP":       {sps: testSPS, pps: testPPS, in: [][][]byte{{idr}}, want: [][]byte{testSPS, testPPS, idr}, key: true},
		"sets from before":        {in: [][][]byte{{testSPS, testPPS, idr}, {p}, {idr}}, want: [][]byte{testSPS, testPPS, idr}, key: true},
		"sets in their own units": {in: [][][]byte{{testSPS}, {testPPS}, {idr}}, want: [][]byte{testSPS, testPPS, idr}, key: true},
		"delimiter stays first":   {sps: testSPS, pps: testPPS, in: [][][]byte{{aud, idr}}, want: [][]byte{aud, testSPS, testPPS, idr}, key: true},
		"no PPS, no key":          {in: [][][]byte{{testSPS, idr}}, want: [][]byte{idr}},
		"recovery point":          {sps: testSPS, pps: testPPS, in: [][][]byte{{sei, p}}, want: [][]byte{testSPS, testPPS, sei, p}, key: true},
		"loose SEI":               {sps: testSPS, pps: testPPS, in: [][][]byte{{sei}, {p}}, want: [][]byte{testSPS, testPPS, sei, p}, key: true},
		"plain picture":           {sps: testSPS, pps: testPPS, in: [][][]byte{{p}}, want: [][]byte{p}},
		"only sets":               {in: [][][]byte{{testSPS, testPPS}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAssembler(media.H264, nil, tt.sps, tt.pps)
			var out [][]byte
			var key bool
			for _, in := range tt.in {
				out, key = a.add(in)
			}
			assert.Equal(t, tt.want, out)
			assert.Equal(t, tt.key, key)
		})
	}
}

func TestAssemblerKeepsAGoodSPS(t *testing.T) {
	t.Parallel()
	a := newAssembler(media.H264, nil, testSPS, testPPS)
	assert.Equal(t, [2]int{352, 288}, [2]int{a.format.Width, a.format.Height})
	a.add([][]byte{{0x67, 0xff, 0xff, 0xff}, {0x65, 0x88, 1}})
	assert.Equal(t, testSPS, a.format.SPS)
	assert.True(t, a.complete())
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := Backoff{}.withDefaults()
	tests := map[string]struct {
		n        int
		r        Reason
		age      time.Duration
		min, max time.Duration
	}{
		"first":             {n: 1, r: Unreachable, min: 500 * time.Millisecond, max: time.Second},
		"young outage":      {n: 50, r: Unreachable, age: 4 * time.Minute, min: 1500 * time.Millisecond, max: 3 * time.Second},
		"old outage":        {n: 50, r: Unreachable, age: 6 * time.Minute, min: 15 * time.Second, max: 30 * time.Second},
		"password":          {n: 1, r: WrongPassword, min: 15 * time.Second, max: 30 * time.Second},
		"codec, later":      {n: 10, r: UnsupportedCodec, age: time.Minute, min: 15 * time.Second, max: 30 * time.Second},
		"codec, first":      {n: 1, r: UnsupportedCodec, min: 500 * time.Millisecond, max: time.Second},
		"very many of them": {n: 1 << 30, r: Closed, age: 1000 * time.Hour, min: 15 * time.Second, max: 30 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.max, b.wait(tt.n, tt.r, tt.age, 0))
			assert.InDelta(t, tt.min.Seconds(), b.wait(tt.n, tt.r, tt.age, 0.999999).Seconds(), 0.001)
		})
	}
}

// seeds are the payloads of a few units, as length-prefixed packets.
func seeds(f *testing.F) {
	f.Helper()
	frame := func(flags byte, ps ...[]byte) []byte {
		var b bytes.Buffer
		for _, p := range ps {
			b.WriteByte(flags)
			_ = binary.Write(&b, binary.BigEndian, uint16(len(p)))
			b.Write(p)
		}
		return b.Bytes()
	}
	f.Add(frame(1, testSPS, testPPS, []byte{0x65, 0x88, 1}), false)
	f.Add(frame(0, []byte{0x5c, 0x85, 0x88, 1}, []byte{0x5c, 0x45, 2}), false)
	f.Add(frame(1, append([]byte{0x18, 0, 27}, testSPS...)), false)
	f.Add(frame(1, []byte{0x40, 1, 2}, []byte{0x42, 1, 2}, []byte{0x26, 1, 0x80, 2}), true)
	f.Add(frame(2, []byte{0x62, 1, 0x93, 2}, []byte{0x62, 1, 0x53, 2}), true)
	f.Add(frame(4, []byte{0x06, 0x06, 0x01, 0xc0}, []byte{0, 0, 0, 1, 0x65}), false)
}

// FuzzAccessUnits feeds packets of any content through everything between RTP
// and the handler.
func FuzzAccessUnits(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte, h265 bool) {
		codec := media.H264
		if h265 {
			codec = media.H265
		}
		d, err := newDepacketizer(codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		a := newAssembler(codec, nil, nil, nil)
		var c clock
		var seq uint16
		var ts uint32
		fed, got := 0, 0
		at := instant{wall: time.Unix(1e9, 0)}
		for len(b) >= 3 {
			flags, n := b[0], int(binary.BigEndian.Uint16(b[1:]))
			b = b[3:]
			payload := b[:min(n, len(b))]
			b = b[len(payload):]
			fed += len(payload)
			seq += 1 + uint16(flags>>2&3)*uint16(flags>>7)
			ts += uint32(flags&0x70) << 20
			at.mono += time.Duration(flags) * time.Millisecond
			if flags&2 != 0 {
				ts += 3600
			}
			for _, u := range d.push(packet(seq, ts, flags&1 != 0, payload...)) {
				nalus, key := a.add(u.nalus)
				if key && !a.complete() {
					t.Fatal("a key unit without parameter sets")
				}
				for _, n := range nalus {
					if len(n) == 0 {
						t.Fatal("an empty NAL unit")
					}
				}
				got += len(nalus)
				c.observe(u.ts, at)
			}
			if len(a.loose) > maxLoose || len(a.ppss) > maxPPS || d.count > maxUnitPackets {
				t.Fatal("a bound does not hold")
			}
		}
		if got > (fed+1)*(maxPPS+maxLoose+3) {
			t.Fatalf("%d NAL units out of %d bytes", got, fed)
		}
	})
}
