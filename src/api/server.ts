/**
 * The HTTP API of a node: where it listens, and who answers.
 *
 * Served on a Unix socket (mode 0660) and, when configured, on TCP. Who may open the socket may
 * command the node: on the socket the file mode decides, on TCP loopback or client certificates do.
 * `/v1/health` is answered from the first moment; all else is the business of application.ts, which
 * is loaded when the first request needs it or nothing else is to be done, and until then waited for.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Config } from '../config/schema.js'
import type { Event } from '../control/event.js'
import type { Application } from './application.js'
import type { ApiDatapath, ApiNode } from './context.js'
import type { ApiLog } from './errors.js'
import { createEventLog } from './event-log.js'
import { readHealth } from './health.js'
import {
  defaultSocketPath,
  isForeignHost,
  type Listener,
  listenOnSocket,
  listenOnTcp,
} from './listen.js'
import { createTableReader } from './table-reader.js'

export interface ApiOptions {
  readonly node: ApiNode
  readonly datapath: ApiDatapath | undefined
  readonly config: Config
  readonly version: string
  readonly startedAt: Date
  /** Where faults of the API itself go; without it they are only answered (500). */
  readonly log?: ApiLog
}

export interface Api {
  /** Ends event streams, closes the listeners, removes the socket. */
  close(): Promise<void>
  /** `unix:/run/godwit/a.sock`, `http://127.0.0.1:8642`. */
  readonly addresses: string[]
}

/**
 * Starts the API on all configured addresses. Throws, with nothing left listening, when an address
 * cannot be had: another daemon answers on the socket, the port is taken, TLS files are unreadable.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { node, config } = options
  const events = createEventLog(options.startedAt)
  const tables = createTableReader(() => node.snapshot())
  const uncounted: [Event, Date][] = []
  let application: Application | undefined
  let loading: Promise<Application> | undefined
  const unsubscribe = node.onEvent((event, at) => {
    events.append(event, at)
    if (application !== undefined) application.countEvent(event, at)
    else if (uncounted.length < MAXIMUM_UNCOUNTED) uncounted.push([event, at])
  })
  const load = async (): Promise<Application> => {
    const { createApplication } = await import('./application.js')
    const loaded = await createApplication(options, { events, tables })
    for (const [event, at] of uncounted.splice(0)) loaded.countEvent(event, at)
    application = loaded
    return loaded
  }
  const ready = (): Promise<Application> => {
    loading ??= load()
    return loading
  }
  const answerWhenLoaded = (request: IncomingMessage, response: ServerResponse): void => {
    ready().then(
      ({ handle }) => handle(request, response),
      (cause) => {
        options.log?.error({ err: cause }, 'api-not-loaded')
        const error = { code: 'internal-error', message: 'the daemon failed; see its log' }
        answerJson(response, { status: 500, body: { error } })
      },
    )
  }
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    if (application !== undefined) application.handle(request, response)
    else if (isHealthQuestion(request)) answerJson(response, readHealth({ ...options, tables }))
    else answerWhenLoaded(request, response)
  }
  const listeners: Listener[] = []
  const timer = setTimeout(() => ready().catch(() => {}), LOAD_AFTER_MS)
  timer.unref()
  const close = async (): Promise<void> => {
    unsubscribe()
    clearTimeout(timer)
    tables.forget()
    await (await loading?.catch(() => undefined))?.close()
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  try {
    const path = config.api.socket ?? defaultSocketPath(config.node)
    listeners.push(await listenOnSocket(path, handler))
    if (config.api.tcp !== undefined) listeners.push(await listenOnTcp(config.api.tcp, handler))
  } catch (cause) {
    await close()
    throw cause
  }
  return { close, addresses: listeners.map(({ address }) => address) }
}

function isHealthQuestion(request: IncomingMessage): boolean {
  const path = request.url?.split('?')[0]
  return request.method === 'GET' && path === '/v1/health' && !isForeignHost(request)
}

function answerJson(response: ServerResponse, answer: { status: number; body: object }): void {
  response.writeHead(answer.status, { 'content-type': 'application/json; charset=utf-8' })
  response.end(JSON.stringify(answer.body))
}

/** Choice: the first packets of a start, and the registrations that they cause, go before. */
const LOAD_AFTER_MS = 100

/** Events before the application can count them; a restored node has some per EID. */
const MAXIMUM_UNCOUNTED = 65_536
