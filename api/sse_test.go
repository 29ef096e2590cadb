package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// message is one message of a stream, or a comment.
type message struct {
	ID      int64 // 0 when it has none
	Event   string
	Data    string
	Comment string
}

// sse reads a stream as WHATWG HTML, 9.2.6 says.
type sse struct {
	body io.ReadCloser
	r    *bufio.Reader
	last int64 // what the next Last-Event-ID would be
}

func (p *peer) stream(query string, headers ...string) *sse {
	p.tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.base+"/api/v1/events/stream"+query, http.NoBody)
	require.NoError(p.tb, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.Do(r) //nolint:bodyclose // sse.body, which the caller closes
	require.NoError(p.tb, err)
	require.Equal(p.tb, http.StatusOK, resp.StatusCode)
	s := &sse{body: resp.Body, r: bufio.NewReader(resp.Body)}
	first, err := s.next()
	require.NoError(p.tb, err)
	require.Empty(p.tb, first.Data, "a stream begins with the position alone")
	return s
}

// next returns the next block.
func (s *sse) next() (message, error) {
	var m message
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return m, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			if m.ID > 0 {
				s.last = m.ID
			}
			return m, nil
		case name == "":
			m.Comment = value
		case name == "id":
			m.ID, err = strconv.ParseInt(value, 10, 64)
			if err != nil {
				return m, err
			}
		case name == "event":
			m.Event = value
		case name == "data":
			m.Data += value
		case name == "retry":
		default:
			return m, fmt.Errorf("line %q is no field of a stream", line)
		}
	}
}

// event returns the next event and skips comments.
func (s *sse) event() (sequence int64, id string, err error) {
	for {
		m, err := s.next()
		if err != nil {
			return 0, "", err
		}
		if m.Data == "" {
			continue
		}
		var data struct {
			ID       string `json:"id"`
			Sequence int64  `json:"sequence"`
		}
		if err := json.Unmarshal([]byte(m.Data), &data); err != nil {
			return 0, "", err
		}
		if m.Event != "change" || m.ID != data.Sequence {
			return 0, "", fmt.Errorf("message %+v does not fit its event", m)
		}
		return data.Sequence, data.ID, nil
	}
}
