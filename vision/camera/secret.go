package camera

import (
	"fmt"
	"io"
	"log/slog"

	"go.yaml.in/yaml/v3"
)

// Redacted is what is shown instead of a secret.
const Redacted = "<redacted>"

// Secret is a text, usually a URL with a password, that no log, dump, error or
// encoder shows: it reads "<redacted>" everywhere but in Reveal. The zero value
// is the empty text, which is shown as such. Compare with Equal, not ==.
type Secret struct{ text *string } // a pointer, so that fmt cannot reach it in unexported fields

// NewSecret hides s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both hide the same text.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String returns "<redacted>", or "".
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return Redacted
}

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler with the redacted text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML implements yaml.Marshaler with the redacted text.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// UnmarshalYAML takes any scalar; errors do not quote it.
func (s *Secret) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if unmarshal(&text) != nil {
		return &yaml.TypeError{Errors: []string{"a URL must be a text"}}
	}
	*s = NewSecret(text)
	return nil
}
