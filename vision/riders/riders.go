// Package riders finds out which persons ride which motorcycle or bicycle: pure
// Go, deterministic, and counted in seconds and in sizes of the vehicle, so that
// it works at 2 as at 10 pictures a second.
//
// Who sits on a vehicle overlaps it in a certain way and moves with it. Neither
// is enough: a person who walks past a parked motorcycle overlaps it, and two
// motorcycles side by side move alike. So each pair of a person and a vehicle
// collects evidence while the vehicle moves, how well the boxes fit times how
// well the ways agree, and loses it when they part. A pair that stands still
// neither gains nor loses: riders who wait at a light stay riders, and who stands
// beside a parked motorcycle does not become one.
package riders

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Config tunes an Assigner. The zero value is usable.
type Config struct {
	Vehicles []string // classes that have riders; default motorcycle, bicycle
	Person   string   // class of riders; default person
	Most     int      // riders of one vehicle; default 6
}

func (c Config) withDefaults() Config {
	if len(c.Vehicles) == 0 {
		c.Vehicles = []string{"motorcycle", "bicycle"}
	}
	if c.Person == "" {
		c.Person = "person"
	}
	if c.Most <= 0 {
		c.Most = 6
	}
	return c
}

const (
	usualAspect = 16.0 / 9 // of a picture whose size is not known

	// keepLost is how long a track that ended is remembered: the tracker may
	// find the object again under another ID. So long a rider keeps the Carrier.
	keepLost = 2 * time.Second
	// carryFor is how long a vehicle that is not detected is where its rider is.
	carryFor = time.Second

	maxPairs = 4096 // bound of what is remembered
)

// Assigner fills in Track.Carrier and Track.Riders of one camera. It is used by
// one goroutine. Its memory is bounded by the tracks of the latest seconds.
type Assigner struct {
	cfg     Config
	persons map[uint64]*person
	pairs   map[pairKey]*pair
	wheels  map[uint64]wheel // vehicles as last detected
}

type pairKey struct{ person, vehicle uint64 }

func (k pairKey) compare(o pairKey) int {
	return cmp.Or(cmp.Compare(k.person, o.person), cmp.Compare(k.vehicle, o.vehicle))
}

// person is what is known of a track that may ride.
type person struct {
	carrier uint64    // 0 for none
	seen    time.Time // when last detected
}

// wheel is a vehicle when last detected.
type wheel struct {
	box  geom.Box
	seen time.Time
}

// New returns an Assigner that has seen nothing.
func New(cfg Config) *Assigner {
	return &Assigner{
		cfg: cfg.withDefaults(), persons: make(map[uint64]*person), pairs: make(map[pairKey]*pair), wheels: make(map[uint64]wheel),
	}
}

// Enrich sets Carrier and Riders of the scene's tracks. Riders are tracks of the
// scene; Carrier may be a vehicle that ended up to two seconds ago and may be
// found again. A vehicle that the detector missed, by up to a second, while it
// saw a rider is moved along with the rider and counts as seen. The frame is not
// looked at; the error is always nil.
func (a *Assigner) Enrich(_ context.Context, _ *media.Frame, s *vision.Scene) error {
	if !s.Held {
		aspect := s.Aspect
		if !(aspect > 0) {
			aspect = usualAspect
		}
		a.look(s, aspect)
		a.decide()
	}
	a.mark(s)
	a.forget(s)
	return nil
}

// look adds what the scene says about each pair that is detected in it.
func (a *Assigner) look(s *vision.Scene, aspect float64) {
	for i := range s.Tracks {
		v := &s.Tracks[i]
		if !a.isVehicle(v) || v.Coasting(s.At) {
			continue
		}
		a.wheels[v.ID] = wheel{v.Box, s.At}
	}
	for i := range s.Tracks {
		p := &s.Tracks[i]
		if p.Label != a.cfg.Person || p.Coasting(s.At) {
			continue
		}
		st := a.persons[p.ID]
		if st == nil {
			st = &person{}
			a.persons[p.ID] = st
		}
		st.seen = s.At
		for j := range s.Tracks {
			v := &s.Tracks[j]
			if !a.isVehicle(v) || v.Coasting(s.At) {
				continue
			}
			key := pairKey{p.ID, v.ID}
			pr := a.pairs[key]
			now := poseOf(p.Box, v.Box, aspect)
			if pr == nil {
				if now.fit <= 0 || len(a.pairs) >= maxPairs {
					continue
				}
				pr = &pair{}
				a.pairs[key] = pr
				a.inherit(s, key, pr, now)
			}
			pr.observe(s.At, now, v.StillFor)
		}
	}
}

// inherit lets a new pair go on with the evidence of an old one of which one
// half is the same and the other was lost, at the same place on the vehicle: the
// tracker has given the object another ID.
func (a *Assigner) inherit(s *vision.Scene, key pairKey, pr *pair, now pose) {
	const samePlace = .4 // in sizes of the vehicle
	var moved *pair      // of the vehicle that has another ID now
	for _, k := range slices.SortedFunc(maps.Keys(a.pairs), pairKey.compare) {
		old := a.pairs[k]
		sameP, sameV := k.person == key.person, k.vehicle == key.vehicle
		if sameP == sameV || old.evidence <= pr.evidence || s.At.Sub(old.at) > keepLost || now.away(old.last) > samePlace {
			continue
		}
		if sameP && !a.wheels[k.vehicle].seen.Before(s.At) || sameV && !a.lost(k.person, s.At) {
			continue // the other half is still there
		}
		pr.evidence = old.evidence
		if sameP {
			moved = old
		}
	}
	if moved != nil {
		moved.evidence = 0
	}
}

// lost reports whether the person is not detected in the scene of the given
// moment.
func (a *Assigner) lost(id uint64, at time.Time) bool {
	p := a.persons[id]
	return p == nil || p.seen.Before(at)
}

// Evidence that makes and ends a ride, and by how much another vehicle must be
// better to take the rider over.
const (
	enough    = .6
	tooLittle = .2
	better    = .5
)

// decide elects each person's vehicle.
func (a *Assigner) decide() {
	best := make(map[uint64]candidate, len(a.persons))
	for k, pr := range a.pairs {
		c := candidate{k.vehicle, pr.evidence}
		if b, ok := best[k.person]; !ok || c.less(b) {
			best[k.person] = c
		}
	}
	taken := make(map[uint64]int)
	for _, id := range slices.Sorted(maps.Keys(a.persons)) {
		st := a.persons[id]
		var now float64
		if st.carrier != 0 {
			if pr := a.pairs[pairKey{id, st.carrier}]; pr != nil {
				now = pr.evidence
			}
			if now < tooLittle {
				st.carrier = 0
			}
		}
		if b, ok := best[id]; ok && b.vehicle != st.carrier && b.evidence >= enough &&
			(st.carrier == 0 || b.evidence >= now+better) {
			st.carrier = b.vehicle
		}
		if st.carrier != 0 {
			if taken[st.carrier]++; taken[st.carrier] > a.cfg.Most {
				st.carrier = 0
			}
		}
	}
}

// candidate is a vehicle that a person may ride.
type candidate struct {
	vehicle  uint64
	evidence float64
}

// less reports whether c is the better candidate.
func (c candidate) less(o candidate) bool {
	return c.evidence > o.evidence || c.evidence == o.evidence && c.vehicle < o.vehicle
}

// mark writes what was decided into the scene.
func (a *Assigner) mark(s *vision.Scene) {
	at := make(map[uint64]*vision.Track, 8)
	for i := range s.Tracks {
		t := &s.Tracks[i]
		t.Carrier, t.Riders = 0, nil
		if a.isVehicle(t) {
			at[t.ID] = t
		}
	}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		st := a.persons[t.ID]
		if t.Label != a.cfg.Person || st == nil || st.carrier == 0 {
			continue
		}
		t.Carrier = st.carrier
		if v := at[st.carrier]; v != nil {
			v.Riders = append(v.Riders, t.ID) // ascending: so are the tracks
			if !s.Held {
				a.carry(s, v, t)
			}
		}
	}
}

// carry moves a vehicle that was not detected to where its rider says it is.
func (a *Assigner) carry(s *vision.Scene, v, p *vision.Track) {
	pr := a.pairs[pairKey{p.ID, v.ID}]
	w, ok := a.wheels[v.ID]
	if !ok || pr == nil || p.Coasting(s.At) || !v.Coasting(s.At) || s.At.Sub(w.seen) > carryFor || pr.at.Before(w.seen) {
		return
	}
	v.Box = pr.last.vehicleOf(p.Box, w.box)
	v.Seen = s.At
}

// forget drops what is no longer of use.
func (a *Assigner) forget(s *vision.Scene) {
	old := func(seen time.Time) bool { return s.At.Sub(seen) > keepLost }
	present := make(map[uint64]bool, len(s.Tracks))
	for i := range s.Tracks {
		present[s.Tracks[i].ID] = true
	}
	maps.DeleteFunc(a.wheels, func(id uint64, w wheel) bool { return !present[id] && old(w.seen) })
	maps.DeleteFunc(a.persons, func(id uint64, p *person) bool { return !present[id] && old(p.seen) })
	maps.DeleteFunc(a.pairs, func(k pairKey, p *pair) bool {
		_, wheel := a.wheels[k.vehicle]
		return !wheel || a.persons[k.person] == nil || p.evidence <= 0 && old(p.at)
	})
}

func (a *Assigner) isVehicle(t *vision.Track) bool { return slices.Contains(a.cfg.Vehicles, t.Label) }
