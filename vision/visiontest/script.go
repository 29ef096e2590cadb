// Package visiontest helps tests of packages that need a detector but not the
// model: only _test.go files import it.
package visiontest

import (
	"context"
	"sync"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
)

// Script is a Detector that answers from a function of the frame. It is safe
// for concurrent use if the function is.
type Script struct {
	// Detections says what is in the frame. Required.
	Detections func(*media.Frame) []vision.Detection

	mu    sync.Mutex
	calls int
}

var _ vision.Detector = (*Script)(nil)

// Detect implements vision.Detector.
func (s *Script) Detect(ctx context.Context, f *media.Frame) ([]vision.Detection, error) {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	return s.Detections(f), ctx.Err()
}

// Calls returns how often Detect was called.
func (s *Script) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}
