# Compresses everything, and so holds a stream until its end, whatever its head says.
vcl 4.1;

backend default {
  .host = "127.0.0.1";
  .port = "{{upstream}}";
}

sub vcl_backend_response {
  set beresp.do_gzip = true;
}
