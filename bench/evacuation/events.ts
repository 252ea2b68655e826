/**
 * The event stream of one daemon (`GET /v1/events`, server-sent events), event by event.
 */
import { request } from 'node:http'

/** Resolves when the stream is open. `onEvent` gets each event's JSON. */
export function followEvents(
  socketPath: string,
  names: readonly string[],
  onEvent: (event: Readonly<Record<string, unknown>>) => void,
): Promise<{ readonly close: () => void }> {
  return new Promise((resolve, reject) => {
    const path = `/v1/events?name=${names.join(',')}`
    const outgoing = request({ socketPath, path, agent: false }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('error', () => {})
      incoming.on('data', (part: string) => {
        text += part
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1]
          text = text.slice(end + 2)
          if (data !== undefined) onEvent(JSON.parse(data) as Record<string, unknown>)
        }
      })
      resolve({ close: () => incoming.destroy() })
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
