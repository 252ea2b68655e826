/**
 * HTTP to one daemon, over its Unix socket or a URL. Failures become `CliFailure` with a remedy:
 * the API's own message when it answered, what to start or change when nobody did.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { request as requestTls } from 'node:https'
import { CliFailure } from './failure.js'
import type { Target } from './target.js'

export interface ApiClient {
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: unknown, headers?: Record<string, string>): Promise<T>
  delete(path: string): Promise<void>
  /** Server-sent events until the daemon ends the stream. */
  events(path: string, onEvent: (name: string, data: string) => void): Promise<void>
}

/** A client of the daemon behind `target`; connects anew for each request. */
export function createApiClient(target: Target): ApiClient {
  const json = async <T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> => {
    const response = await send(target, method, path, body, headers)
    return readAnswer<T>(response)
  }
  return {
    get: (path) => json('GET', path),
    post: (path, body, headers) => json('POST', path, body, headers),
    delete: async (path) => {
      await json('DELETE', path)
    },
    async events(path, onEvent) {
      const response = await send(target, 'GET', path, undefined, {})
      if (response.statusCode !== 200) await readAnswer(response)
      await readEvents(response, onEvent)
    },
  }
}

function send(
  target: Target,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<IncomingMessage> {
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const options = {
    method,
    headers: {
      ...headers,
      ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
    },
    agent: false as const,
  }
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => reject(unreachable(target, cause))
    let outgoing: ClientRequest
    if (target.kind === 'socket') {
      outgoing = request({ ...options, socketPath: target.path, path }, resolve)
    } else {
      const url = new URL(path, target.url)
      try {
        outgoing =
          url.protocol === 'https:'
            ? requestTls(url, { ...options, ...target.tls })
            : request(url, options)
      } catch (cause) {
        // What is no certificate or key is noticed before anything is sent.
        onError(cause as NodeJS.ErrnoException)
        return
      }
      outgoing.on('response', resolve)
    }
    outgoing.on('error', onError)
    outgoing.end(payload)
  })
}

async function readAnswer<T>(response: IncomingMessage): Promise<T> {
  let text = ''
  response.setEncoding('utf8')
  for await (const chunk of response) text += chunk
  const status = response.statusCode ?? 0
  const parsed = text === '' ? undefined : parseJson(text)
  if (status >= 200 && status < 300) return parsed as T
  const error = (parsed as { error?: { code: string; message: string } } | undefined)?.error
  if (error !== undefined) throw new CliFailure(`${error.message} (${status} ${error.code})`)
  throw new CliFailure(`the daemon answered ${status}`, 'is this really a Godwit daemon?')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new CliFailure('the answer is not JSON', 'is this really a Godwit daemon?')
  }
}

/** A frame is `event:` and `data:` lines up to an empty line; comments and ids are skipped. */
async function readEvents(
  response: IncomingMessage,
  onEvent: (name: string, data: string) => void,
): Promise<void> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response) {
    const frames = (rest + chunk).split('\n\n')
    rest = frames.pop() ?? ''
    for (const frame of frames) {
      const name = /^event: (.*)$/m.exec(frame)?.[1]
      const data = /^data: (.*)$/m.exec(frame)?.[1]
      if (name !== undefined && data !== undefined) onEvent(name, data)
    }
  }
}

function unreachable(target: Target, cause: NodeJS.ErrnoException): CliFailure {
  const place = target.kind === 'socket' ? target.path : target.url.origin
  const start = 'start it with "godwitd run CONFIG", or name another with --socket, --node or --url'
  switch (cause.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new CliFailure(`no daemon answers on ${place}: no such socket`, start)
    case 'ECONNREFUSED':
      return new CliFailure(`no daemon answers on ${place}: nobody listens`, start)
    case 'EACCES':
      return new CliFailure(`no permission to use ${place}`, 'run this as root')
    case 'ECONNRESET':
      return new CliFailure(`the daemon on ${place} went away`, 'see its log')
    default:
      return (
        tlsFailure(place, cause) ??
        new CliFailure(`cannot talk to ${place}: ${cause.message}`, start)
      )
  }
}

/** What the two sides of TLS do not like about each other, by the codes of OpenSSL and Node. */
function tlsFailure(
  place: string,
  { code = '', message }: NodeJS.ErrnoException,
): CliFailure | undefined {
  if (DISTRUST.has(code)) {
    const remedy = 'name the CA that signed its certificate with --ca FILE'
    return new CliFailure(`${place} is not believed: ${message}`, remedy)
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const remedy = 'use the name or address that its certificate is for'
    return new CliFailure(`${place} is not who it should be: ${message}`, remedy)
  }
  if (
    /CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_EXPIRED|DECRYPT_ERROR/.test(code)
  ) {
    const remedy = 'give a client certificate of the CA it believes with --cert FILE --key FILE'
    return new CliFailure(`${place} refuses us: ${message}`, remedy)
  }
  if (code.startsWith('ERR_OSSL') || code.startsWith('ERR_SSL') || code === 'EPROTO') {
    const remedy = 'is it https there, and are --cert and --key a pair of PEM files?'
    return new CliFailure(`no TLS with ${place}: ${message}`, remedy)
  }
  return undefined
}

const DISTRUST: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
])
