package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

// badCamera is a camera that cannot be used, and what must be said about it.
type badCamera struct{ url, says string }

// badCameras serves one camera for each fault that a commune meets. Every
// address has a password.
func badCameras(t *testing.T) map[string]badCamera {
	t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	locked := streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264}), User: "admin", Password: "another one",
	})
	user := url.UserPassword("admin", password).String() + "@"
	return map[string]badCamera{
		"unreachable":       {"rtsp://" + user + closed.Addr().String() + "/a", "cannot connect (connection refused); check that it is switched on"},
		"wrong-password":    {"rtsp://" + user + locked.Addr() + "/a", "refused the user name or password"},
		"not-rtsp":          {"rtsp://" + user + web.Listener.Addr().String() + "/a", "a web server answers there, not RTSP"},
		"no-video":          {"rtsp://" + user + describing(t, "m=audio 0 RTP/AVP 0\r\n") + "/a", "no video"},
		"unsupported-codec": {"rtsp://" + user + describing(t, "m=video 0 RTP/AVP 26\r\n") + "/a", "its video is M-JPEG; set the camera to H.264 or H.265"},
	}
}

// describing serves RTSP up to a description of these media lines and returns
// its address.
func describing(t *testing.T, sdp string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { describe(c, sdp) })
		}
	})
	return ln.Addr().String()
}

func describe(c net.Conn, sdp string) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(requestHead(in))))
		if err != nil {
			return
		}
		body := ""
		if req.Method == "DESCRIBE" {
			body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" + sdp
		}
		fmt.Fprintf(c, "RTSP/1.0 200 OK\r\nCSeq: %s\r\nPublic: DESCRIBE, SETUP, PLAY\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			req.Header.Get("CSeq"), len(body), body)
	}
}

// requestHead reads one RTSP request and returns it as HTTP has it.
func requestHead(in *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return ""
		}
		head.WriteString(strings.Replace(line, "RTSP/1.0", "HTTP/1.0", 1))
		if line == "\r\n" {
			return head.String()
		}
	}
}
