package api

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, newMemLog())
	cfg.Schemas = fstest.MapFS{"event.json": {Data: []byte(`{"type":"object"}`)}}
	cfg.MediaLinks = MediaLinks{Base: "https://xacam.example", Key: make([]byte, 32)}
	p := serve(t, cfg)
	resp, body := p.get(pathSchemas)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	assert.JSONEq(t, `{"items":[{"name":"event.json","url":"/api/v1/schemas/event.json"}]}`, body)
	resp, body = p.get(pathSchemas + "/event.json")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	assert.True(t, json.Valid([]byte(body)))
	for _, name := range []string{"none.json", "..", "%2e%2e%2fserver.go"} {
		resp, _ = p.get(pathSchemas + "/" + name)
		assert.Equal(t, http.StatusNotFound, resp.StatusCode, name)
	}
	resp, _ = p.get(pathSchemas+"/event.json", "Host", "xacam.example")
	assert.Equal(t, http.StatusOK, resp.StatusCode, "receivers know the server by this name")
	resp, _ = p.get(pathEvents, "Host", "xacam.example")
	assert.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode)
}
