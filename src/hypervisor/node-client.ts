/**
 * The agent's words to the daemon of its host, over the HTTP API on its Unix socket.
 */
import { request } from 'node:http'

export interface NodeAnswer {
  readonly status: number
  readonly body: unknown
}

export interface NodeClient {
  post(path: string, body: unknown): Promise<NodeAnswer>
  delete(path: string): Promise<NodeAnswer>
  get(path: string): Promise<NodeAnswer>
}

/** Each request rejects when nobody listens or no answer comes within `limitMs`. */
export function createNodeClient(socketPath: string, limitMs = 8_000): NodeClient {
  const send = (method: string, path: string, body?: unknown): Promise<NodeAnswer> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const headers = text === undefined ? {} : { 'content-type': 'application/json' }
      // A connection of its own: the daemon may have closed, or lost, one that was kept.
      const options = { socketPath, path, method, headers, agent: false }
      const outgoing = request(options, (incoming) => {
        let received = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (part: string) => {
          received += part
          if (received.length > MAXIMUM_ANSWER) incoming.destroy(new Error('answer too long'))
        })
        incoming.on('error', reject)
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, body: json(received) }),
        )
      })
      outgoing.setTimeout(limitMs, () => outgoing.destroy(new Error('the daemon does not answer')))
      outgoing.on('error', reject)
      outgoing.end(text)
    })
  return {
    post: (path, body) => send('POST', path, body),
    delete: (path) => send('DELETE', path),
    get: (path) => send('GET', path),
  }
}

/** The reason in an answer of the API that refuses. */
export function refusalIn({ status, body }: NodeAnswer): string {
  const error = (body as { error?: { code?: string; message?: string } } | undefined)?.error
  return error?.message ?? `answer ${status}`
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const MAXIMUM_ANSWER = 4 << 20
