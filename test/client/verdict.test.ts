import { expect, test } from 'vitest'
import { judge } from '../../src/client/verdict.js'

const fresh = { everReady: false, canRefresh: false }
const known = { everReady: true, canRefresh: false }
const sse = 'text/event-stream'

test.each([
  [204, null, 'ended', 'ended'],
  [200, sse, 'open', 'open'],
  [200, 'Text/Event-Stream; charset=utf-8', 'open', 'open'],
  [200, ' text/event-stream;x=y', 'open', 'open'],
  [200, 'text/event-stream-ish', 'terminal', 'retry'],
  [200, 'text/html', 'terminal', 'retry'],
  [200, null, 'terminal', 'retry'],
  [201, sse, 'terminal', 'retry'],
  [206, sse, 'terminal', 'retry'],
  [0, null, 'terminal', 'retry'],
  [304, null, 'terminal', 'retry'],
  [400, sse, 'terminal', 'retry'],
  [401, null, 'terminal', 'terminal'],
  [403, null, 'terminal', 'retry'],
  [404, null, 'terminal', 'retry'],
  [408, null, 'retry', 'retry'],
  [409, null, 'terminal', 'retry'],
  [425, null, 'retry', 'retry'],
  [429, null, 'retry', 'retry'],
  [500, sse, 'retry', 'retry'],
  [502, null, 'retry', 'retry'],
  [503, sse, 'retry', 'retry'],
  [599, null, 'retry', 'retry'],
])('%d of type %j is %s at first, and %s once the stream was ready', (status, type, first, later) => {
  expect(judge(status, type, fresh).is).toBe(first)
  expect(judge(status, type, known).is).toBe(later)
})

test('a 401 asks for new headers where there can be some', () => {
  expect(judge(401, null, { everReady: false, canRefresh: true })).toEqual({ is: 'refresh' })
})

test('a refusal carries its status, and a wrong type its code', () => {
  expect(judge(404, null, fresh)).toMatchObject({ error: { code: 'HTTP_STATUS', status: 404 } })
  expect(judge(200, 'text/html', fresh)).toMatchObject({ error: { code: 'NOT_AN_EVENT_STREAM', status: 200 } })
})
