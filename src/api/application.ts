/**
 * The application behind the API: Fastify with TypeBox schemas that validate and document.
 *
 * Requests are checked by functions that were compiled with this program. The application sees
 * tables, commands and events; it decides nothing.
 */
import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance, type FastifySchemaCompiler } from 'fastify'
import type { Config } from '../config/schema.js'
import requestValidators from './compiled-validators.js'
import type { ApiContext, ApiNode } from './context.js'
import { ApiError, type ApiLog, installErrorHandlers, refuseUrl } from './errors.js'
import { createEventLog } from './event-log.js'
import { isForeignHost } from './listen.js'
import { createMetrics } from './metrics.js'
import { describedEidRoutes } from './routes/described-eids.js'
import { endpointEventRoutes } from './routes/endpoint-events.js'
import { eventRoutes } from './routes/events.js'
import { locatorRoutes } from './routes/locators.js'
import { mapCacheRoutes } from './routes/map-cache.js'
import { mappingDatabaseRoutes } from './routes/mapping-database.js'
import { metricRoutes } from './routes/metrics.js'
import { moveBatchRoutes } from './routes/move-batches.js'
import { moveRoutes } from './routes/moves.js'
import { multicastRoutes } from './routes/multicast.js'
import { nodeRoutes } from './routes/node.js'
import { queryRoutes } from './routes/queries.js'
import { registrationRoutes } from './routes/registrations.js'
import { siteRoutes } from './routes/sites.js'
import { subscriptionRoutes } from './routes/subscriptions.js'
import { whyRoutes } from './routes/why.js'
import { workloadRoutes } from './routes/workloads.js'
import type { ApiOptions } from './server.js'

export interface Application {
  readonly handle: RequestListener
  /** Ends event streams; resolves when all requests have been answered. */
  close(): Promise<void>
}

/** Follows the node's events from the moment of the call on. */
export async function createApplication(options: ApiOptions): Promise<Application> {
  const context = createContext(options)
  const unsubscribe = options.node.onEvent((event, at) => {
    context.events.append(event, at)
    context.metrics.countEvent(event, at)
  })
  const app = await createApp(context, options.log, compiledValidator, async () => {})
  return {
    handle: (request, response) => app.routing(request, response),
    close() {
      unsubscribe()
      return app.close()
    },
  }
}

/**
 * The OpenAPI 3.1 document of this API, without serving anything. The build writes it beside this
 * file, from where it is served: a daemon does not load what describes it.
 */
export async function describeApi(version: string): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger')
  const app = await createUnservedApp(
    () => () => true,
    async (app) => {
      await app.register(swagger, {
        openapi: {
          openapi: '3.1.0',
          info: {
            title: 'Godwit node',
            version,
            description:
              'Tables, moves and events of one LISP node. Errors: {error: {code, message}}.',
          },
        },
      })
    },
  )
  const document = app.swagger()
  await app.close()
  return document
}

/** The schema of one part of a request; `name` is under which its validator is looked up. */
export interface RequestSchema {
  readonly name: string
  readonly httpPart: string
  readonly schema: object
}

/** The schemas of everything that requests carry, for scripts/compile-validators.ts. */
export async function requestSchemas(): Promise<RequestSchema[]> {
  const found = new Map<string, RequestSchema>()
  const collect: ValidatorCompiler = (part) => {
    const name = requestPart(part)
    found.set(name, { name, httpPart: part.httpPart ?? '', schema: part.schema as object })
    return () => true
  }
  const app = await createUnservedApp(collect, async () => {})
  await app.close()
  return [...found.values()]
}

/** An application that describes and is never asked anything. */
async function createUnservedApp(
  compiler: ValidatorCompiler,
  prepare: (app: FastifyInstance) => Promise<void>,
): Promise<FastifyInstance> {
  const node: ApiNode = {
    snapshot: notServed,
    tables: {
      sizes: notServed,
      mapCache: notServed,
      mappingDatabase: notServed,
      registrations: notServed,
      describedEids: notServed,
      move: notServed,
    },
    command: notServed,
    onEvent: () => () => undefined,
  }
  // Routes are only registered: the handlers, which would read the rest, never run.
  const config = { node: 'godwit', roles: [], api: {} } as unknown as Config
  const options = { node, datapath: undefined, config, version: '', startedAt: new Date(0) }
  return createApp(createContext(options), undefined, compiler, prepare)
}

type ValidatorCompiler = FastifySchemaCompiler<unknown>

function requestPart({ method, url, httpPart }: Parameters<ValidatorCompiler>[0]): string {
  // Each GET is a HEAD as well, with the same schemas.
  return `${method === 'HEAD' ? 'GET' : method} ${url} ${httpPart}`
}

const compiledValidator: ValidatorCompiler = (part) => {
  const validate = requestValidators[requestPart(part)]
  if (validate === undefined) throw new Error(`no validator was compiled for ${requestPart(part)}`)
  return validate as ReturnType<ValidatorCompiler>
}

function notServed(): never {
  throw new Error('nobody asks an application that only describes')
}

function unused(): never {
  throw new Error('the compilers were set')
}

function createContext(options: ApiOptions): ApiContext {
  const { node, datapath, version, startedAt } = options
  const events = createEventLog(startedAt)
  const metrics = createMetrics({
    node: options.config.node,
    version,
    startedAt,
    sizes: () => node.tables.sizes(),
    datapath,
    groupPackets: options.groupPackets,
    addressHints: options.addressHints,
    followers: () => events.followers(),
    sockets: options.sockets,
  })
  return {
    workloads: options.workloads,
    problems: options.problems ?? (() => []),
    node,
    datapath,
    groupPackets: options.groupPackets,
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

async function createApp(
  context: ApiContext,
  log: ApiLog | undefined,
  compiler: ValidatorCompiler,
  prepare: (app: FastifyInstance) => Promise<void>,
): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    forceCloseConnections: true,
    frameworkErrors: refuseUrl,
    routerOptions: { maxParamLength: MAXIMUM_PARAMETER_LENGTH },
    // Else Fastify loads compilers of its own, whatever is set below.
    schemaController: { compilersFactory: { buildValidator: unused, buildSerializer: unused } },
  })
    .setValidatorCompiler(compiler)
    // Answers are made of our own views, which tests hold against their schemas.
    .setSerializerCompiler(() => JSON.stringify)
    .withTypeProvider<TypeBoxTypeProvider>()
  installErrorHandlers(app, log)
  // A page in a browser may send plain text anywhere without asking first: no route takes it.
  app.removeContentTypeParser('text/plain')
  app.addHook('onRequest', async (request) => {
    if (isForeignHost(request.raw)) {
      const message = 'over plain TCP, address the daemon as localhost'
      throw new ApiError(421, 'host-not-allowed', message, 'header.host')
    }
  })
  await prepare(app)
  for (const routes of ALL_ROUTES) await app.register(routes, { context })
  app.get('/openapi.json', { schema: { hide: true } }, (_, reply) =>
    reply.type('application/json; charset=utf-8').send(readFileSync(OPENAPI_FILE)),
  )
  await app.ready()
  return app
}

const ALL_ROUTES = [
  nodeRoutes,
  mapCacheRoutes,
  mappingDatabaseRoutes,
  registrationRoutes,
  describedEidRoutes,
  siteRoutes,
  subscriptionRoutes,
  multicastRoutes,
  locatorRoutes,
  moveRoutes,
  moveBatchRoutes,
  endpointEventRoutes,
  eventRoutes,
  queryRoutes,
  metricRoutes,
  whyRoutes,
  workloadRoutes,
]

const OPENAPI_FILE = new URL('./openapi.json', import.meta.url)

/** The largest sensible request is a move of 64 EIDs, about 3 KB. */
const BODY_LIMIT_BYTES = 64 * 1024

/** A percent-decoded IPv6 prefix with an instance-ID is under 64 characters. */
const MAXIMUM_PARAMETER_LENGTH = 128
