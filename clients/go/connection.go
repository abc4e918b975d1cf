package finesieve

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// maxAnswerBytes leaves room for answers with long passages and embeddings.
const maxAnswerBytes = 64 << 20

// maxRepeatedBytes is what a request may have and still be repeated: more than a server takes.
const maxRepeatedBytes = 64 << 20

// Which calls are repeated, when and how often; the same for every language.
//
//go:embed service_config.json
var serviceConfig string

// connect makes the channel that all of a client's calls go through.
func connect(target string, s settings) (*grpc.ClientConn, error) {
	if s.token != "" && s.tls == nil && !isLoopback(target) {
		return nil, fmt.Errorf("finesieve: a token would travel to %s in the clear; speak TLS", target)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("finesieve-go/" + Version),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // one that comes by DNS, instead of ours
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxAnswerBytes), grpc.MaxRetryRPCBufferSize(maxRepeatedBytes),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 60 * time.Second, Timeout: 20 * time.Second}),
		grpc.WithChainUnaryInterceptor(callOnce(s.timeout)),
		grpc.WithChainStreamInterceptor(openStream),
	}
	if s.tls != nil {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(s.tls)))
	}
	if s.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{s.token, s.tls != nil}))
	}
	return grpc.NewClient(target, append(options, s.dial...)...)
}

// bearer is the token that every call carries.
type bearer struct {
	token   string
	overTLS bool // whatever the caller's own dial options say
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity leaves to connect where a token may go without TLS.
func (b bearer) RequireTransportSecurity() bool { return b.overTLS }

// The whole of a target that is an address: what else a URI may hold, gRPC may read differently.
var hostAndPort = regexp.MustCompile(`^(?:dns:///)?(?:\[([0-9A-Fa-f:.]+)\]|([^/:?#@\[\]]+))(?::[0-9]+)?$`)

// isLoopback tells whether a target can only mean this same machine.
func isLoopback(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	address := hostAndPort.FindStringSubmatch(target)
	if address == nil {
		return false
	}
	host := address[1] + address[2]
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
