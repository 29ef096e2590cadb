package rtsp_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

// fake is a server that answers every request with what reply returns for its
// method, and the connection ends when that is empty.
func fake(tb testing.TB, reply func(method string) string) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(c, reply)
		}
	}()
	return ln.Addr().String()
}

func answer(c net.Conn, reply func(string) string) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		method, _, _ := strings.Cut(line, " ")
		seq := ""
		for {
			h, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if h == "\r\n" {
				break
			}
			if v, ok := strings.CutPrefix(h, "CSeq: "); ok {
				seq = strings.TrimSpace(v)
			}
		}
		out := reply(method)
		if out == "" {
			return
		}
		fmt.Fprint(c, strings.ReplaceAll(out, "SEQ", seq))
	}
}

func ok(headers, body string) string {
	return fmt.Sprintf("RTSP/1.0 200 OK\r\nCSeq: SEQ\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(body), body)
}

func status(code int, headers string) string {
	return fmt.Sprintf("RTSP/1.0 %d No\r\nCSeq: SEQ\r\n%s\r\n", code, headers)
}

// describing answers DESCRIBE with an SDP of these media lines.
func describing(tb testing.TB, extra, sdp string) string {
	tb.Helper()
	return fake(tb, func(method string) string {
		switch method {
		case "OPTIONS":
			return ok("Public: DESCRIBE, SETUP, PLAY\r\n", "")
		case "DESCRIBE":
			return ok("Content-Type: application/sdp\r\n"+extra, "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"+sdp)
		}
		return status(500, "")
	})
}

const h264Media = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cam"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(tb, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	cams := streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264}), User: "admin", Password: "right",
	})
	tcpOnly := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264}), NoUDP: true})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	tlsLn, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	require.NoError(t, err)
	t.Cleanup(func() { tlsLn.Close() })
	go func() {
		for {
			c, err := tlsLn.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	silent := fake(t, func(string) string { <-hold; return "" })
	tests := map[string]struct {
		url  string
		udp  bool
		want rtsp.Reason
		text string
	}{
		"refused":        {url: "rtsp://user:s3cret@" + closed.Addr().String() + "/a", want: rtsp.Unreachable, text: "connection refused"},
		"unknown host":   {url: "rtsp://user:s3cret@no-such-host.invalid/a", want: rtsp.Unreachable},
		"web server":     {url: "rtsp://user:s3cret@" + web.Listener.Addr().String() + "/a", want: rtsp.NotRTSP, text: "web server"},
		"ssh":            {url: "rtsp://" + fake(t, func(string) string { return "SSH-2.0-OpenSSH_9\r\n" }), want: rtsp.NotRTSP, text: "SSH"},
		"silent port":    {url: "rtsp://user:s3cret@" + silent + "/a", want: rtsp.NotRTSP},
		"hangs up":       {url: "rtsp://" + fake(t, func(string) string { return "" }), want: rtsp.NotRTSP},
		"wrong password": {url: "rtsp://admin:s3cret@" + cams.Addr() + "/a", want: rtsp.WrongPassword, text: "refused the user name or password"},
		"no password":    {url: cams.URL("a"), want: rtsp.WrongPassword, text: "rtsp://user:password@host/path"},
		"no such path":   {url: "rtsp://admin:right@" + cams.Addr() + "/nope", want: rtsp.NotFound, text: "/nope"},
		"udp not there":  {url: tcpOnly.URL("a"), udp: true, want: rtsp.Refused, text: "tcp or udp"},
		"no video":       {url: "rtsp://" + describing(t, "", "m=audio 0 RTP/AVP 0\r\n"), want: rtsp.NoVideo},
		"nothing at all": {url: "rtsp://" + describing(t, "", ""), want: rtsp.Refused},
		"mjpeg":          {url: "rtsp://" + describing(t, "", "m=video 0 RTP/AVP 26\r\n"), want: rtsp.UnsupportedCodec, text: "JPEG"},
		"vp8":            {url: "rtsp://" + describing(t, "", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"), want: rtsp.UnsupportedCodec, text: "VP8"},
		"interleaved":    {url: "rtsp://" + describing(t, "", h264Media+"a=fmtp:96 packetization-mode=2\r\n"), want: rtsp.UnsupportedCodec},
		"redirect": {url: "rtsp://admin:s3cret@" + fake(t, func(m string) string {
			if m == "OPTIONS" {
				return ok("", "")
			}
			return status(302, "Location: rtsp://169.254.169.254/latest\r\n")
		}) + "/a", want: rtsp.Refused, text: "redirects to rtsp://169.254.169.254"},
		"control elsewhere":      {url: "rtsp://" + describing(t, "", h264Media+"a=control:rtsp://10.1.2.3/x\r\n"), want: rtsp.Refused, text: "10.1.2.3"},
		"session elsewhere":      {url: "rtsp://" + describing(t, "", "a=control:rtsp://10.1.2.3/x\r\n"+h264Media), want: rtsp.Refused, text: "10.1.2.3"},
		"content base elsewhere": {url: "rtsp://" + describing(t, "Content-Base: rtsp://10.1.2.3/x\r\n", h264Media), want: rtsp.Refused, text: "10.1.2.3"},
		"unreadable control":     {url: "rtsp://" + describing(t, "", h264Media+"a=control:%zz\r\n"), want: rtsp.Refused, text: "track address"},
		"unreadable sdp":         {url: "rtsp://" + describing(t, "", "m=video\r\n"), want: rtsp.Refused, text: "description"},
		"self-signed":            {url: "rtsps://user:s3cret@" + tlsLn.Addr().String() + "/a", want: rtsp.TLS, text: "certificate"},
		"tls without tls":        {url: "rtsps://user:s3cret@" + web.Listener.Addr().String() + "/a", want: rtsp.TLS, text: "does not speak TLS"},
		"server error":           {url: "rtsp://" + describing(t, "", h264Media), want: rtsp.Refused, text: "status 500"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := rtsp.Config{URL: tt.url, Handler: newRecorder(), ConnectTimeout: 2 * time.Second}
			if tt.udp {
				cfg.Transport = rtsp.UDP
			}
			c, err := rtsp.New(cfg)
			require.NoError(t, err)
			err = c.Session(context.Background(), nil)
			require.Error(t, err)
			assert.Equal(t, tt.want, rtsp.ReasonOf(err), "%v", err)
			assert.Contains(t, err.Error(), tt.text)
			assert.NotContains(t, err.Error(), "s3cret")
			assert.NotContains(t, err.Error(), "\n")
			assert.Less(t, len(err.Error()), 400)
		})
	}
}

// TestNoVideoArrives covers a camera that answers PLAY and then sends nothing,
// or pictures without a key frame.
func TestNoVideoArrives(t *testing.T) {
	t.Parallel()
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		srv := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
		srv.Stream("a").Stall(true)
		c, err := rtsp.New(rtsp.Config{URL: srv.URL("a"), Handler: newRecorder(), StallTimeout: 300 * time.Millisecond, Transport: rtsp.UDP})
		require.NoError(t, err)
		err = c.Session(context.Background(), nil)
		assert.Equal(t, rtsp.Stalled, rtsp.ReasonOf(err))
		assert.Contains(t, err.Error(), "use tcp")
	})
	t.Run("no key frame", func(t *testing.T) {
		t.Parallel()
		clip := streamtest.Open(t, streamtest.H264)
		var units []*media.AccessUnit
		for _, u := range clip.Units() {
			if !u.Key {
				units = append(units, u)
			}
		}
		srv := streamtest.Serve(t, sim.Config{Streams: map[string]func() (sim.Source, error){
			"a": func() (sim.Source, error) { return streamtest.NewClip(clip.Format(), units), nil },
		}})
		c, err := rtsp.New(rtsp.Config{URL: srv.URL("a"), Handler: newRecorder(), StallTimeout: time.Second, KeyTimeout: 500 * time.Millisecond})
		require.NoError(t, err)
		err = c.Session(context.Background(), nil)
		assert.Equal(t, rtsp.NoKeyFrame, rtsp.ReasonOf(err))
		assert.NotZero(t, c.Stats().Waiting)
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rtsp.Config{
		"no url":     {Handler: newRecorder()},
		"file":       {URL: "file:///etc/passwd", Handler: newRecorder()},
		"http":       {URL: "http://user:s3cret@host/", Handler: newRecorder()},
		"no host":    {URL: "rtsp:///path", Handler: newRecorder()},
		"bad port":   {URL: "rtsp://user:s3cret@host:99999/", Handler: newRecorder()},
		"transport":  {URL: "rtsp://host/", Transport: "multicast", Handler: newRecorder()},
		"no handler": {URL: "rtsp://host/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := rtsp.New(cfg)
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	first := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	second, err := sim.New(sim.Config{Listen: first.Addr(), Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	require.NoError(t, err)
	err = second.Run(context.Background())
	require.ErrorContains(t, err, "the port is in use; stop the other program or choose another port")
}
