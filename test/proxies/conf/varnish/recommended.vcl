vcl 4.1;

backend default {
  .host = "127.0.0.1";
  .port = "{{upstream}}";
  # Cuts what is silent for so long: at least three heartbeats, which come every 15 s.
  .between_bytes_timeout = {{idle}}s;
}

sub vcl_backend_response {
  if (beresp.http.Content-Type ~ "^text/event-stream") {
    # Never stored, and sent on as it comes.
    set beresp.uncacheable = true;
    set beresp.do_stream = true;
    # Compressed, the whole stream would be held until its end: no header helps against that.
    set beresp.do_gzip = false;
    return (deliver);
  }
}
