package format

import (
	"github.com/xacam/xacam/events"
)

// Contexts of the NGSI-LD body.
const (
	contextAlert = "https://raw.githubusercontent.com/smart-data-models/dataModel.Alert/master/context.jsonld"
	contextCore  = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"
)

// ngsiAlert is the Alert of Smart Data Models as an NGSI-LD entity in normalised
// form. The entity is the event: later steps change it.
type ngsiAlert struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	AlertSource property  `json:"alertSource"`
	Category    property  `json:"category"`
	SubCategory property  `json:"subCategory"`
	Severity    property  `json:"severity"`
	DateIssued  property  `json:"dateIssued"`
	ValidFrom   *property `json:"validFrom,omitempty"`
	ValidTo     *property `json:"validTo,omitempty"`
	Description *property `json:"description,omitempty"`
	Location    *property `json:"location,omitempty"`
	Address     *property `json:"address,omitempty"`
	Data        property  `json:"data"`
	Context     []string  `json:"@context"`
}

type property struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type ngsiTime struct {
	Type  string `json:"@type"`
	Value string `json:"@value"`
}

type ngsiPoint struct {
	Type        string     `json:"type"`
	Coordinates [2]float64 `json:"coordinates"` // longitude, latitude
}

// ngsiData is what the model leaves open.
type ngsiData struct {
	MessageID string `json:"message_id"`
	Step      string `json:"step"`
	Test      bool   `json:"test,omitempty"`
	Event     any    `json:"event,omitempty"`
	Heartbeat *beat  `json:"heartbeat,omitempty"`
}

func (f *Formatter) ngsiLD(n *note) (Body, error) {
	text := func(v any) property { return property{"Property", v} }
	at := func(s string) property { return text(ngsiTime{"DateTime", s}) }
	a := ngsiAlert{
		ID: "urn:ngsi-ld:Alert:" + n.id, Type: "Alert", AlertSource: text(f.cfg.Source), Category: text("security"),
		SubCategory: text("heartbeat"), Severity: text("informational"), DateIssued: at(f.time(n.at)),
		Data: text(ngsiData{MessageID: n.id, Step: n.kind, Heartbeat: n.beat}), Context: []string{contextAlert, contextCore},
	}
	if n.event != nil {
		w := &n.wire
		kind := aboutKind(w.Kind)
		a.ID = "urn:ngsi-ld:Alert:" + w.ID
		a.AlertSource = text(f.cfg.Source + ":" + w.Source.Type + ":" + w.Source.ID)
		a.Category, a.SubCategory = text(kind.ngsi), text(kind.sub)
		a.Severity = text(ngsiSeverity(w.Severity))
		from, why := at(w.OccurredAt), text(w.Why.VI)
		a.ValidFrom, a.Description = &from, &why
		if w.ClearedAt != nil {
			to := at(*w.ClearedAt)
			a.ValidTo = &to
		}
		if w.Place.Lat != nil && w.Place.Lon != nil {
			a.Location = &property{"GeoProperty", ngsiPoint{"Point", [2]float64{*w.Place.Lon, *w.Place.Lat}}}
		}
		where := text(map[string]string{"addressCountry": "VN", "addressLocality": w.Place.Commune, "district": w.Source.Hamlet})
		a.Address = &where
		a.Data = text(ngsiData{MessageID: n.id, Step: string(n.step), Test: n.test, Event: w})
	}
	b, err := appendJSON(a)
	return Body{ContentType: "application/ld+json; charset=utf-8", Bytes: b}, err
}

func ngsiSeverity(s events.Severity) string {
	if s == events.SeverityInfo {
		return "informational"
	}
	return string(s)
}
