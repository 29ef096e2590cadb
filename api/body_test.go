package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
)

// send sends a body and decodes a JSON answer, if there is one.
func (p *peer) send(method, path, body string, to any, headers ...string) answer {
	p.tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, p.base+path, strings.NewReader(body))
	require.NoError(p.tb, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.Do(r)
	require.NoError(p.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(p.tb, err)
	if s, ok := to.(*string); ok {
		*s = string(text)
	} else if to != nil {
		require.NoError(p.tb, json.Unmarshal(text, to), "%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return answer{resp.StatusCode, resp.Header}
}
