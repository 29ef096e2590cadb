package evidence_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/xacam/xacam/events/eventstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(eventstest.M{M: m}) }
