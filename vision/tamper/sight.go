package tamper

// sight is how one picture compares with the usual view.
type sight struct {
	ready         bool
	voters        int     // cells that have a say
	lost          int     // of them, those that were not seen for a while
	rough         int     // of them, those whose coarse edges are there
	sharp         float64 // what is left of fine edges against coarse ones; usually 1
	richness      float64 // strength of all edges; usually 1
	usualRich     float64 // mean strength of the edges that are usually there
	layout        float64 // correlation of the brightness of cells with the usual
	usualContrast float64 // the same, usually
	contrast      float64 // standard deviation of the brightness of cells, grey levels
	shift         float64 // of the usual view, in coarse pixels; 0 when not found

	better float64 // how many times better it fits with that shift

	bright, usually float64 // brightest level, now and usually
	dazzle          float64 // share of dazzling pixels
	glare           bool    // something dazzles that usually does not
}

// Limits of the judgement. Scores are 0 at the first and 1 at the second of two.
const (
	lostFrom, lostTo   = 0.5, 0.9  // share of cells that are lost
	sharpFrom, sharpTo = 0.75, 0.3 // sharpness
	smoothFrom         = 0.6       // edges left of what the contrast lets expect
	smoothTo           = 0.2
	poor               = 0.45     // richness of a picture that shows hardly anything
	softer             = 0.8      // richness of a picture that is out of focus
	fell               = 0.5      // brightness that fell this far, quickly
	wasBright          = 70.0     // from at least this level
	bareFrom, bareTo   = 0.4, 0.1 // richness of a picture without any edge
	betterFrom         = 1.15     // how much better the view fits when it is shifted
	betterTo           = 1.55
	grain              = 0.8 // mean strength of the edges of a picture that usually has some
	calmLost           = 0.5 // share of lost cells up to which the picture is learned
)

// fault returns what is wrong with the picture and how wrong, "" for nothing.
func (s *sight) fault() (string, float64) {
	if !s.ready {
		return "", 0
	}
	trace := s.rough*100 >= 15*max(s.voters, 1) || s.layout >= .5 && s.contrast >= 1
	if s.bright <= tooDark && s.usually >= wasBright && s.bright <= fell*s.usually {
		if trace {
			return Dark, clamp((tooDark - s.bright) / (tooDark - blackest))
		}
		return Covered, 1
	}
	if s.voters < minVoters { // there is hardly anything to know it by
		if s.usualRich >= grain && s.richness < bareFrom {
			return Covered, clamp((bareFrom - s.richness) / (bareFrom - bareTo))
		}
		return "", 0
	}
	lost := clamp((s.lostShare() - lostFrom) / (lostTo - lostFrom))
	soft := clamp((sharpFrom - s.sharp) / (sharpFrom - sharpTo))
	there := 2*s.rough >= s.voters
	smooth := clamp((smoothFrom - s.smoothness()) / (smoothFrom - smoothTo))
	switch {
	case there && soft > 0 && s.richness <= softer:
		return Blurred, max(soft, smooth)
	case smooth > 0: // so blurred that hardly an edge is left
		return Blurred, smooth
	case s.shift > tinyShift && s.better > betterFrom:
		return Moved, max(lost, clamp((s.better-betterFrom)/(betterTo-betterFrom)))
	case lost == 0:
		return "", 0
	case s.richness >= poor:
		return Moved, lost
	}
	return Covered, lost
}

// smoothness returns what is left of the edges of a picture whose bright and dark
// parts are where they usually are, and as different; 1 for another picture, and
// for one that became dim, whose edges did so too.
func (s *sight) smoothness() float64 {
	if s.layout < .75 || s.contrast < max(5, s.usualContrast/2) {
		return 1
	}
	return s.richness / (s.contrast / max(s.usualContrast, 1))
}

func (s *sight) lostShare() float64 {
	if s.voters == 0 {
		return 0
	}
	return float64(s.lost) / float64(s.voters)
}

// quiet reports whether the picture may be learned from.
func (s *sight) quiet() bool {
	kind, _ := s.fault()
	return kind == "" && s.lostShare() <= calmLost
}
