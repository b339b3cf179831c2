/** A `fetch` that lets everything through, and reports what the client keeps to itself: first frames and heartbeats. */
export function tapped(report) {
  return async (input, init) => {
    const response = await fetch(input, init)
    if (response.status !== 200 || !response.body) return response
    let text = ''
    const decoder = new TextDecoder()
    const tap = new TransformStream({
      transform(bytes, controller) {
        controller.enqueue(bytes)
        text += decoder.decode(bytes, { stream: true })
        const frames = text.split('\n\n')
        text = frames.pop()
        for (const frame of frames) report(readFrame(frame))
      },
    })
    return new Response(response.body.pipeThrough(tap), response)
  }
}

function readFrame(frame) {
  const isReady = /^event: stream:ready$/m.test(frame)
  return {
    heartbeat: frame.startsWith(':'),
    ready: isReady ? JSON.parse(/^data: (.*)$/m.exec(frame)[1]) : undefined,
  }
}
