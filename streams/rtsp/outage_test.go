package rtsp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestOutageLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o := outageLog{log: slog.New(slog.NewTextHandler(&b, nil))}
	now := time.Unix(1e9, 0)
	st := State{Phase: Offline, Since: now}
	for range 90 { // three minutes of the same, every 2 s
		o.failed(context.Background(), errors.New("refused"), st, now)
		now = now.Add(2 * time.Second)
	}
	o.failed(context.Background(), errors.New("other"), st, now)
	o.online(st, now.Add(time.Second))
	out := b.String()
	assert.Equal(t, 1, strings.Count(out, `msg="camera offline" reason="" error=refused`), out)
	assert.Equal(t, 2, strings.Count(out, "camera still offline"), out)
	assert.Equal(t, 1, strings.Count(out, "error=other"), out)
	assert.Equal(t, 2, strings.Count(out, "attempts=30"), out)
	assert.Equal(t, 1, strings.Count(out, "camera online"), out)
}
