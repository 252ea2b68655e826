/**
 * One HTTP request to a daemon's Unix socket, JSON in and out.
 *
 * The lab drives daemons through the same HTTP API as everybody else; nothing is reached by a
 * shorter way. Timeouts are the caller's, because a move legitimately takes seconds.
 */
import { request } from 'node:http'

export interface ApiAnswer {
  readonly status: number
  /** Undefined when the body was empty or no JSON. */
  readonly body: unknown
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

/** Rejects when nobody listens, or when no answer came in time (default 5 s). */
export function apiRequest(
  socketPath: string,
  path: string,
  options: ApiRequest = {},
): Promise<ApiAnswer> {
  const text = options.body === undefined ? undefined : JSON.stringify(options.body)
  const headers = {
    ...(text === undefined ? {} : { 'content-type': 'application/json' }),
    ...options.headers,
  }
  return new Promise((resolve, reject) => {
    const outgoing = request(
      // A connection of its own: a daemon may have closed, or lost, one that was kept.
      { socketPath, path, method: options.method ?? 'GET', headers, agent: false },
      (incoming) => {
        let received = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (part: string) => {
          received += part
          if (received.length > MAXIMUM_ANSWER) incoming.destroy(new Error('answer too large'))
        })
        incoming.on('error', reject)
        incoming.on('end', () => {
          resolve({ status: incoming.statusCode ?? 0, body: parseJson(received) })
        })
      },
    )
    outgoing.setTimeout(options.timeoutMs ?? 5_000, () => {
      outgoing.destroy(new Error(`${path}: no answer from ${socketPath}`))
    })
    outgoing.on('error', reject)
    outgoing.end(text)
  })
}

/** The list in an answer, whether the body is the list or an object with one list in it. */
export function listIn(body: unknown): Record<string, unknown>[] {
  if (Array.isArray(body)) return body as Record<string, unknown>[]
  const lists = Object.values((body ?? {}) as Record<string, unknown>).filter(Array.isArray)
  return (lists[0] ?? []) as Record<string, unknown>[]
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const MAXIMUM_ANSWER = 64 << 20
