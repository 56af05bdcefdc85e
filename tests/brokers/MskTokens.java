import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Takes tokens of the form that Amazon MSK takes: a URL in base64, signed for kafka-cluster:Connect. Who logs in is the
 * access key. The signature is not checked, since only AWS knows the secret: that MSK would take it is not proved.
 */
public class MskTokens implements AuthenticateCallbackHandler {
    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    }

    @Override
    public void close() {
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (!(callback instanceof OAuthBearerValidatorCallback)) {
                throw new UnsupportedCallbackException(callback);
            }
            OAuthBearerValidatorCallback asked = (OAuthBearerValidatorCallback) callback;
            try {
                asked.token(read(asked.tokenValue()));
            } catch (RuntimeException error) {
                asked.error("invalid_token", null, null);
            }
        }
    }

    private static OAuthBearerToken read(String token) {
        URI url = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
        Map<String, String> asked = new HashMap<>();
        for (String pair : url.getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            asked.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        String[] scope = asked.get("X-Amz-Credential").split("/");
        long start = LocalDateTime.parse(asked.get("X-Amz-Date"), DATE).toInstant(ZoneOffset.UTC).toEpochMilli();
        long end = start + 1000 * Long.parseLong(asked.get("X-Amz-Expires"));
        boolean right = url.getScheme().equals("https")
            && url.getHost().equals("kafka." + scope[2] + ".amazonaws.com")
            && asked.get("Action").equals("kafka-cluster:Connect")
            && asked.get("X-Amz-Algorithm").equals("AWS4-HMAC-SHA256")
            && asked.get("X-Amz-SignedHeaders").equals("host")
            && asked.get("X-Amz-Signature").matches("[0-9a-f]{64}")
            && scope[3].equals("kafka-cluster")
            && scope[4].equals("aws4_request")
            && end > System.currentTimeMillis();
        if (!right) {
            throw new IllegalArgumentException("not a token for MSK: " + url);
        }
        return new OAuthBearerToken() {
            @Override
            public String value() {
                return token;
            }

            @Override
            public Set<String> scope() {
                return Set.of();
            }

            @Override
            public long lifetimeMs() {
                return end;
            }

            @Override
            public String principalName() {
                return scope[0];
            }

            @Override
            public Long startTimeMs() {
                return start;
            }
        };
    }
}
