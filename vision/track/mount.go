package track

// Where the box of a rider is, seen from the box of what is ridden.
const (
	saddleAside = 0.5  // of the vehicle's width: how far the middles may be apart
	saddleBelow = 0.1  // of its height: how far the feet may be below the wheels
	saddleAbove = 0.6  // of its height: how far the feet may be above the wheels
	saddleHead  = 0.25 // of its height: the head is at most so far under the vehicle's upper edge
)

// mount lends persons on a motorcycle or a bicycle the agility of it: they come
// towards the camera as fast as it does, and at a few looks a second a pedestrian's
// pace would lose them to whoever rides behind.
func (t *Tracker) mount() {
	person, known := t.labels.ids["person"]
	if !known {
		return
	}
	for i := range t.dets {
		v := &t.dets[i]
		if !t.labels.twoWheeled(v.label) {
			continue
		}
		for k := range t.dets {
			if d := &t.dets[k]; d.label == person && d.agility < v.agility && rides(d.box, v.box) {
				d.agility = v.agility
			}
		}
	}
}

// rides reports whether a person's box sits on a vehicle's.
func rides(person, vehicle box) bool {
	aside := max(person.x-vehicle.x, vehicle.x-person.x)
	feet, wheels := person.y+person.h/2, vehicle.y+vehicle.h/2
	head, top := person.y-person.h/2, vehicle.y-vehicle.h/2
	return aside <= saddleAside*vehicle.w && head <= top+saddleHead*vehicle.h &&
		feet <= wheels+saddleBelow*vehicle.h && feet >= wheels-saddleAbove*vehicle.h
}
