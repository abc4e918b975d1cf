#include "connection.h"

#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>
#include <system_error>

namespace finesieve {
namespace {

Options With(const std::string& token, const std::optional<Tls>& tls) {
  Options options;
  options.token = token;
  options.tls = tls;
  return options;
}

TEST(Connection, KnowsWhatIsThisMachine) {
  for (const char* target :
       {"localhost:50051", "localhost", "127.0.0.1:1", "127.9.9.9:1", "[::1]:50051",
        "dns:///localhost:50051", "unix:/run/finesieve.sock", "unix:relative"}) {
    EXPECT_TRUE(IsLoopback(target)) << target;
  }
  for (const char* target : {"example.com:50051",
                             "10.0.0.1:1",
                             "128.0.0.1:1",
                             "[::2]:1",
                             "localhost.example.com:1",
                             "dns:///example.com:1",
                             "127.0.0.1.example.com:1",
                             "127.1:1",
                             "0127.0.0.1:1",
                             "",
                             "ipv4:127.0.0.1:1,10.0.0.1:1",
                             "localhost:1,example.com:1",
                             ":50051",
                             "dns:///example.com:1?/localhost:1",
                             "dns:///example.com:1#/localhost",
                             "example.com:1/localhost",
                             "example.com:1?/localhost",
                             "ipv4:10.0.0.1:1?/localhost",
                             "127.0.0.1@example.com:1",
                             "dns://example.com/localhost:1",
                             "[localhost]:1",
                             "::1"}) {
    EXPECT_FALSE(IsLoopback(target)) << target;
  }
}

TEST(Connection, RefusesToSendATokenInTheClear) {
  EXPECT_THROW(Connect("example.com:1", With("secret", {})), std::invalid_argument);
  EXPECT_NO_THROW(Connect("localhost:1", With("secret", {})));
  EXPECT_NO_THROW(Connect("example.com:1", With("secret", Tls())));
  EXPECT_NO_THROW(Connect("example.com:1", With("", {})));
}

TEST(Connection, RefusesACertificateWithoutItsKey) {
  Tls tls;
  tls.client_certificate = "/etc/hostname";
  EXPECT_THROW(Connect("localhost:1", With("", tls)), std::invalid_argument);
  std::swap(tls.client_certificate, tls.client_key);
  EXPECT_THROW(Connect("localhost:1", With("", tls)), std::invalid_argument);
}

TEST(Connection, RefusesAFileThatCannotBeRead) {
  const std::string folder = testing::TempDir();
  const std::string empty = folder + "empty.pem";
  std::ofstream(empty).close();
  for (const std::string& path : {folder + "missing.pem", folder, empty}) {
    Tls tls;
    tls.root_certificates = path;
    try {
      Connect("localhost:1", With("", tls));
      FAIL() << path;
    } catch (const std::system_error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
      EXPECT_NE(error.code().value(), 0) << error.what();
    }
  }
}

}  // namespace
}  // namespace finesieve
