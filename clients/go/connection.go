package finesieve

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// maxAnswerBytes leaves room for answers with long passages and embeddings.
const maxAnswerBytes = 64 << 20

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
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 60 * time.Second, Timeout: 20 * time.Second}),
		grpc.WithChainUnaryInterceptor(callOnce(s.timeout)),
		grpc.WithChainStreamInterceptor(openStream),
	}
	if s.tls != nil {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(s.tls)))
	}
	if s.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(s.token)))
	}
	return grpc.NewClient(target, append(options, s.dial...)...)
}

// bearer is the token that every call carries.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity leaves to connect where a token may go without TLS.
func (bearer) RequireTransportSecurity() bool { return false }

// isLoopback tells whether a target can only mean this same machine.
func isLoopback(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	address := target[strings.LastIndex(target, "/")+1:] // "dns:///localhost:50051" names its host last
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
