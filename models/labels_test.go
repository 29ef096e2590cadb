package models_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/models"
)

func TestClassName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"motorbike": "motorcycle", "Motorbike": "motorcycle", "motor bike": "motorcycle", "motorcycle": "motorcycle",
		"aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv", "TV_monitor": "tv", "pottedplant": "potted plant",
		"diningtable": "dining table", "Traffic_Light": "traffic light", "pedestrian": "person", " person ": "person",
		"Without Helmet": "Without Helmet", "rider": "rider", "van": "van", "": "", "xe ba gác": "xe ba gác",
	} {
		assert.Equal(t, want, models.ClassName(name), name)
	}
	for _, name := range models.COCO() {
		assert.Equal(t, name, models.ClassName(name), "COCO's own names stay")
	}
	given := []string{"sofa", "dog"}
	assert.Equal(t, []string{"couch", "dog"}, models.ClassNames(given))
	assert.Equal(t, []string{"sofa", "dog"}, given, "the list is the caller's")
	assert.Nil(t, models.ClassNames(nil), "no classes are all classes")
}
