# HTTP/2 in front: `varnishd -p feature=+http2`, behind something that ends TLS, such as hitch.
vcl 4.1;

backend default {
  .host = "127.0.0.1";
  .port = "{{upstream}}";
}
