package webhook

import (
	"encoding/base64"
	"encoding/hex"

	"github.com/xacam/xacam/events/outbox"
)

// prefixPublic begins an Ed25519 public key of v1a, Standard Webhooks 1.0.
const prefixPublic = "whpk_"

// texts are the forms in which an answer could repeat the secret.
func texts(s *outbox.Secret) []string {
	return []string{base64.StdEncoding.EncodeToString(s.Key), hex.EncodeToString(s.Key), string(s.Key)}
}
