package track

import "math"

const (
	maxLabels = 4096          // class names a tracker remembers; models have 80, the largest about 1200
	voteFade  = 20.0          // seconds in which an old vote loses all but 37 % of its weight
	voteTie   = 1.0 + 0x1p-20 // a class must be ahead by more than rounding to take over
	noLabel   = labelID(-1)   // not admitted: the table is full

	vehicleAgility = 6.0 // see labels.agility
)

// labelID is the number of a class name in a tracker's table.
type labelID int

// labels numbers class names and knows which of them a track may swap.
type labels struct {
	ids   map[string]labelID
	names []string
	group []int // the lowest number among the classes of the group
}

func newLabels(groups [][]string) labels {
	l := labels{ids: map[string]labelID{}}
	for _, g := range groups {
		first := len(l.names)
		for _, name := range g {
			if _, known := l.ids[name]; !known {
				l.add(name, first)
			}
		}
	}
	return l
}

func (l *labels) add(name string, group int) labelID {
	id := labelID(len(l.names))
	l.ids[name] = id
	l.names = append(l.names, name)
	l.group = append(l.group, group)
	return id
}

// agility returns by what factor objects of the class change their speed in the
// picture faster than people do. Vehicles drive towards the camera: from far away
// a dot that hardly moves, they cross the last of the picture in a moment.
func (l *labels) agility(label labelID) float64 {
	switch l.names[label] {
	case "car", "truck", "bus", "motorcycle", "bicycle", "train":
		return vehicleAgility
	}
	return 1
}

// lookup returns the number of a class, a new one where it was not seen before.
func (l *labels) lookup(name string) labelID {
	if id, known := l.ids[name]; known {
		return id
	}
	if len(l.names) >= maxLabels {
		return noLabel
	}
	return l.add(name, len(l.names))
}

// vote is how much speaks for one class of a track.
type vote struct {
	label  labelID
	weight float64
}

// ballot elects a track's class: scores add up and fade with time. There are
// never more votes than classes in the group.
type ballot struct {
	votes  []vote
	leader int // index into votes
}

func (b *ballot) reset() { b.votes, b.leader = b.votes[:0], 0 }

func (b *ballot) label() labelID { return b.votes[b.leader].label }

func (b *ballot) cast(label labelID, score, dt float64) {
	keep := math.Exp(-dt / voteFade)
	found := -1
	for i := range b.votes {
		b.votes[i].weight *= keep
		if b.votes[i].label == label {
			found = i
		}
	}
	if found < 0 {
		found = len(b.votes)
		b.votes = append(b.votes, vote{label: label})
	}
	b.votes[found].weight += score
	if b.votes[found].weight > b.votes[b.leader].weight*voteTie {
		b.leader = found
	}
}
