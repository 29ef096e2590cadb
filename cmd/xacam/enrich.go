package main

import (
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/riders"
)

// enrichers returns what looks closer at a camera's scenes: only what its rules
// need, in the order in which they build on each other.
func (p *plan) enrichers(built *camera.Plan) ([]pipeline.Enricher, error) {
	var out []pipeline.Enricher
	if built.Needs[behaviour.NeedRiders] {
		out = append(out, riders.New(riders.Config{}))
	}
	return out, nil
}
