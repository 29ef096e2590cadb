package format

import "github.com/xacam/xacam/events"

// about is what other vocabularies call a kind.
type about struct {
	vi, en string
	cap    string // CAP 1.2 category
	ngsi   string // Smart Data Models Alert category
	sub    string // and subCategory
}

// aboutKind returns the names of a kind; an unknown one has its own.
func aboutKind(k events.Kind) about {
	if a, ok := kinds()[k]; ok {
		return a
	}
	return about{vi: string(k), en: string(k), cap: "Other", ngsi: "security", sub: string(k)}
}

func kinds() map[events.Kind]about {
	return map[events.Kind]about{
		"intrusion":            {"Xâm nhập vùng cấm", "Intrusion", "Security", "security", "intrusion"},
		"line_crossing":        {"Vượt vạch", "Line crossing", "Security", "security", "lineCrossing"},
		"loitering":            {"Lảng vảng", "Loitering", "Security", "security", "loitering"},
		"crowd":                {"Tụ tập đông người", "Crowd", "Safety", "security", "crowd"},
		"abandoned_object":     {"Vật bị bỏ lại", "Abandoned object", "Security", "security", "suspiciousAction"},
		"removed_object":       {"Vật bị lấy đi", "Removed object", "Security", "security", "robbery"},
		"dumping":              {"Nghi vấn đổ rác trái phép", "Suspected illegal dumping", "Env", "environment", "illegalDumping"},
		"waste_accumulated":    {"Rác tồn đọng", "Waste accumulated", "Env", "environment", "wasteAccumulated"},
		"wrong_way":            {"Nghi vấn đi ngược chiều", "Suspected wrong-way driving", "Transport", "traffic", "carWrongDirection"},
		"stopped_vehicle":      {"Xe dừng đỗ", "Stopped vehicle", "Transport", "traffic", "carStopped"},
		"congestion":           {"Ùn tắc giao thông", "Congestion", "Transport", "traffic", "trafficJam"},
		"speeding":             {"Nghi vấn chạy quá tốc độ", "Suspected speeding", "Transport", "traffic", "carSpeeding"},
		"no_helmet":            {"Nghi vấn không đội mũ bảo hiểm", "Suspected riding without a helmet", "Transport", "traffic", "noHelmet"},
		"overloaded_motorbike": {"Nghi vấn xe máy chở quá số người", "Suspected overloaded motorbike", "Transport", "traffic", "overloaded"},
		"camera_offline":       {"Mất kết nối camera", "Camera offline", "Infra", "security", "deviceOffline"},
		"camera_tampered":      {"Camera bị che hoặc xê dịch", "Camera tampered with", "Security", "security", "deviceTampered"},
		"delivery_failing":     {"Không gửi được tin đến hệ thống nhận", "Deliveries are failing", "Infra", "security", "deliveryFailing"},
		"storage_low":          {"Bộ nhớ lưu trữ sắp đầy", "Storage is running low", "Infra", "security", "storageLow"},
		"sensor_limit":         {"Cảm biến vượt ngưỡng", "Sensor over its limit", "Env", "environment", "sensorLimit"},
		"sensor_rate":          {"Cảm biến thay đổi nhanh", "Sensor changes fast", "Env", "environment", "sensorRate"},
		"sensor_silent":        {"Cảm biến không gửi số liệu", "Sensor is silent", "Infra", "environment", "deviceOffline"},
		"sensor_stuck":         {"Cảm biến đứng số", "Sensor is stuck", "Infra", "environment", "deviceFault"},
		"tide_alarm":           {"Báo động triều cường", "Tide alarm", "Met", "naturalDisaster", "flood"},
		"speaker_offline":      {"Mất kết nối loa", "Loudspeaker offline", "Infra", "security", "deviceOffline"},
		"speaker_fault":        {"Loa bị lỗi", "Loudspeaker fault", "Infra", "security", "deviceFault"},
		"playback_failed":      {"Không phát được bản tin", "Playback failed", "Infra", "security", "deviceFault"},
		"test":                 {"Tin thử", "Test", "Other", "security", "test"},
	}
}
