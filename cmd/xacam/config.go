package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/schedule"
)

// Config is the server's own file, xacam.yaml. Cameras and rules are not in
// it: they live in the database, see `xacam apply`. Only this package knows
// the format.
type Config struct {
	Listen    string          `yaml:"listen"`
	Data      string          `yaml:"data"`
	Database  DatabaseConfig  `yaml:"database"`
	Commune   CommuneConfig   `yaml:"commune"`
	Inference InferenceConfig `yaml:"inference"`
	Tracks    TracksConfig    `yaml:"tracks"`
	Media     MediaConfig     `yaml:"media"`
	Evidence  EvidenceConfig  `yaml:"evidence"`
	// PublicURL is the address under which receivers of events reach this server,
	// for links to pictures; "" makes no links.
	PublicURL  string           `yaml:"public_url"`
	Deliveries DeliveriesConfig `yaml:"deliveries"`
	Log        LogConfig        `yaml:"log"`

	location *time.Location // of Commune.TimeZone, set by validate
	holidays schedule.Holidays
	models   string // folder of model files; "" is that of Data
}

// DatabaseConfig says where events are kept.
type DatabaseConfig struct {
	DSN      Secret `yaml:"dsn"`      // "" is a private PostgreSQL in the data folder
	Binaries string `yaml:"binaries"` // folder of initdb and postgres; "" searches the usual places
}

// CommuneConfig says whose server this is.
type CommuneConfig struct {
	Code     string `yaml:"code"`
	Name     string `yaml:"name"`
	TimeZone string `yaml:"time_zone"`

	// Holidays are days for the words "holiday" and "!holiday" of schedules; see
	// schedule.ParseHolidays.
	Holidays []string `yaml:"holidays"`
}

// InferenceConfig tunes the detector.
type InferenceConfig struct {
	Workers int    `yaml:"workers"` // 0 is one a core
	Library string `yaml:"library"` // libonnxruntime.so; "" searches the usual places
	Model   string `yaml:"model"`   // of cameras that name none
}

// LogConfig says how to log.
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

func defaultConfig() *Config {
	return &Config{
		Listen:     "127.0.0.1:8080",
		Data:       "/var/lib/xacam",
		Commune:    CommuneConfig{Code: "31615", Name: "Xã An Thạnh", TimeZone: "Asia/Ho_Chi_Minh", Holidays: []string{"01-01", "04-30", "05-01", "09-02"}},
		Inference:  InferenceConfig{Model: "yolox-nano"},
		Tracks:     TracksConfig{Days: 30, GB: 5},
		Media:      MediaConfig{Days: 90, Classes: []ClassConfig{}},
		Evidence:   defaultEvidence(),
		Deliveries: DeliveriesConfig{Days: 30},
		Log:        LogConfig{Level: "info", Format: "text"},
	}
}

// loadConfig reads and checks the file at path. Every problem is reported at
// once; all are exit code 2.
func loadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("read the configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	if !filepath.IsAbs(c.Data) {
		c.Data = filepath.Join(filepath.Dir(path), c.Data)
	}
	return c, nil
}

func parseConfig(b []byte) (*Config, error) {
	c := defaultConfig()
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not a configuration: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a configuration: more than one document")
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// modelDir returns the folder of model files.
func (c *Config) modelDir() string {
	if c.models != "" {
		return c.models
	}
	return modelDir(c.Data)
}

// calendar is the clock of schedules.
func (c *Config) calendar() schedule.Calendar {
	return schedule.Calendar{Location: c.location, Holidays: c.holidays}
}

var communeCode = regexp.MustCompile(`^[0-9]{5}$`)

func (c *Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &events.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad("listen", "%q is not host:port, such as 127.0.0.1:8080", c.Listen)
	}
	if c.Data == "" {
		bad("data", "is required: the folder for the database, pictures and models")
	}
	if dsn := c.Database.DSN.Reveal(); dsn != "" && !strings.HasPrefix(dsn, "postgres://") &&
		!strings.HasPrefix(dsn, "postgresql://") && !strings.Contains(dsn, "=") {
		bad("database.dsn", "must be postgres://… or key=value pairs; leave it out for a private database")
	}
	if !communeCode.MatchString(c.Commune.Code) {
		bad("commune.code", "%q is not the national code of a commune, five digits", c.Commune.Code)
	}
	var err error
	if c.location, err = time.LoadLocation(c.Commune.TimeZone); err != nil || c.Commune.TimeZone == "" {
		bad("commune.time_zone", "%q is not a time zone name, such as Asia/Ho_Chi_Minh", c.Commune.TimeZone)
	}
	if c.holidays, err = schedule.ParseHolidays(c.Commune.Holidays); err != nil {
		bad("commune.holidays", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.Inference.Workers < 0 || c.Inference.Workers > 256 {
		bad("inference.workers", "%d is not between 0 (one a core) and 256", c.Inference.Workers)
	}
	if c.Inference.Model == "" {
		bad("inference.model", "is required, such as yolox-nano")
	}
	c.Tracks.validate(bad)
	validatePublicURL(c.PublicURL, bad)
	c.Deliveries.validate(bad)
	c.Media.validate(bad)
	c.Evidence.validate(bad)
	if _, err := c.Log.level(); err != nil {
		bad("log.level", "%q is not one of debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q is not text or json", c.Log.Format)
	}
	return errors.Join(errs...)
}
