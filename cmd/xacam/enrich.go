package main

import (
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/prep"
	"github.com/xacam/xacam/vision/riders"
	"github.com/xacam/xacam/vision/still"
	"github.com/xacam/xacam/vision/tamper"
)

// enrichers returns what looks closer at a camera's scenes: only what its rules
// need, in the order in which they build on each other. The first one finds lost
// tracks again, where the camera wants that, the last one rounds the scene to
// what is kept of it. A tolerant camera goes on without what it can do without.
func (p *plan) enrichers(built *camera.Plan, tolerant bool) ([]pipeline.Enricher, error) {
	var out []pipeline.Enricher
	if p.file.Detect.Reid != "" {
		e, err := p.reidEnricher()
		switch {
		case err != nil && !tolerant:
			return nil, err
		case err != nil:
			e = amiss{err}
		}
		out = append(out, e)
	}
	if built.Needs[behaviour.NeedRiders] {
		out = append(out, riders.New(riders.Config{}))
	}
	if built.Needs[behaviour.NeedHelmet] {
		e, err := p.helmetEnricher()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if built.Needs[behaviour.NeedStills] {
		e, err := still.New(still.Config{NewAligner: newAligner, Masks: built.Masks})
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if built.Needs[behaviour.NeedView] {
		e, err := tamper.New(tamper.Config{Masks: built.Masks})
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return append(out, new(snapping)), nil
}

// newAligner registers pictures with OpenCV.
func newAligner(width, height int) (still.Aligner, error) { return prep.NewAligner(width, height) }
