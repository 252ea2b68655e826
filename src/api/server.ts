/**
 * The HTTP API of a node: Fastify with TypeBox schemas that validate, serialize and document.
 *
 * One application, served on a Unix socket (mode 0660) and, when configured, on TCP. It sees a
 * snapshot, commands and events; it decides nothing. Who may open the socket may command the node:
 * on the socket the file mode decides, on TCP loopback or client certificates do.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import swagger from '@fastify/swagger'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.js'
import type { ApiContext, ApiDatapath, ApiNode } from './context.js'
import { ApiError, type ApiLog, installErrorHandlers } from './errors.js'
import { createEventLog } from './event-log.js'
import {
  defaultSocketPath,
  isLocalHost,
  type Listener,
  listenOnSocket,
  listenOnTcp,
} from './listen.js'
import { createMetrics } from './metrics.js'
import { eventRoutes } from './routes/events.js'
import { locatorRoutes } from './routes/locators.js'
import { mapCacheRoutes } from './routes/map-cache.js'
import { mappingDatabaseRoutes } from './routes/mapping-database.js'
import { metricRoutes } from './routes/metrics.js'
import { moveRoutes } from './routes/moves.js'
import { nodeRoutes } from './routes/node.js'
import { queryRoutes } from './routes/queries.js'
import { registrationRoutes } from './routes/registrations.js'
import { siteRoutes } from './routes/sites.js'
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
  const context = createContext(options)
  const unsubscribe = node.onEvent((event, at) => {
    context.metrics.countEvent(event, at)
    context.events.append(event, at)
  })
  const app = await createApp(context, options.log)
  const listeners: Listener[] = []
  const close = async (): Promise<void> => {
    unsubscribe()
    context.tables.forget()
    await app.close()
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  const handler = (request: IncomingMessage, response: ServerResponse): void =>
    app.routing(request, response)
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

/** The OpenAPI 3.1 document of this API, without serving anything. */
export async function describeApi(version: string): Promise<object> {
  const node: ApiNode = {
    snapshot: () => {
      throw new Error('not served')
    },
    command: () => Promise.reject(new Error('not served')),
    onEvent: () => () => undefined,
  }
  const config = { node: 'godwit', roles: [], api: {} } as unknown as Config
  const options = { node, datapath: undefined, config, version, startedAt: new Date(0) }
  const app = await createApp(createContext(options), undefined)
  const document = app.swagger()
  await app.close()
  return document
}

function createContext(options: ApiOptions): ApiContext {
  const { node, datapath, version, startedAt } = options
  const events = createEventLog(startedAt)
  const tables = createTableReader(() => node.snapshot())
  const metrics = createMetrics({
    node: options.config.node,
    version,
    startedAt,
    snapshot: () => tables.read().snapshot,
    datapath,
    followers: () => events.followers(),
  })
  return {
    node,
    tables,
    datapath,
    version,
    startedAt,
    events,
    metrics,
    // Read each time: a daemon that reloads hands in a getter.
    get config() {
      return options.config
    },
  }
}

async function createApp(context: ApiContext, log: ApiLog | undefined): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: MAXIMUM_PARAMETER_LENGTH },
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>()
  installErrorHandlers(app, log)
  app.addHook('onRequest', async (request) => {
    if (isPlainTcp(request.raw.socket) && !isLocalHost(request.headers.host)) {
      const message = 'over plain TCP, address the daemon as localhost'
      throw new ApiError(421, 'host-not-allowed', message, 'header.host')
    }
  })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Godwit node',
        version: context.version,
        description: 'Tables, moves and events of one LISP node. Errors: {error: {code, message}}.',
      },
    },
  })
  for (const routes of ALL_ROUTES) await app.register(routes, { context })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  await app.ready()
  return app
}

function isPlainTcp(socket: unknown): boolean {
  return (
    socket instanceof Socket && !(socket instanceof TLSSocket) && socket.localPort !== undefined
  )
}

const ALL_ROUTES = [
  nodeRoutes,
  mapCacheRoutes,
  mappingDatabaseRoutes,
  registrationRoutes,
  siteRoutes,
  locatorRoutes,
  moveRoutes,
  eventRoutes,
  queryRoutes,
  metricRoutes,
]

/** The largest sensible request is a move of 64 EIDs, about 3 KB. */
const BODY_LIMIT_BYTES = 64 * 1024

/** A percent-decoded IPv6 prefix with an instance-ID is under 64 characters. */
const MAXIMUM_PARAMETER_LENGTH = 128
