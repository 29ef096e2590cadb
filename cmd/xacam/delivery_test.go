package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// TestDisabledSignal: an endpoint that nobody disabled on purpose is an alarm.
func TestDisabledSignal(t *testing.T) {
	t.Parallel()
	for _, why := range []string{"", "admin"} {
		assert.Nil(t, disabledSignal(&outbox.Endpoint{Name: "ioc", Disabled: why}))
	}
	gone := disabledSignal(&outbox.Endpoint{Name: "ioc", Disabled: "gone"})
	require.NotNil(t, gone)
	assert.Equal(t, true, gone.Attributes["gone"])
	closed := disabledSignal(&outbox.Endpoint{Name: "ioc", Disabled: "the secrets cannot be opened"})
	require.NotNil(t, closed)
	assert.Equal(t, events.KindDeliveryFailing, closed.Key.Kind)
	assert.Equal(t, false, closed.Attributes["gone"])
	assert.Equal(t, "the secrets cannot be opened", closed.Attributes["error"])
	assert.Contains(t, closed.Why.VI, "không mở được")
}
