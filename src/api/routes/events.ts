/**
 * `/v1/events`: everything that happens, as server-sent events.
 *
 * `Last-Event-ID` (or `?backlog=N`) replays from the last 1,000; a `gap` event tells how many were
 * no longer there. A consumer whose unsent data passes 1 MB is cut off and counted: the daemon does
 * not wait for anybody. It can come back with its last id.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import { EVENT_NAMES } from '../../control/event.js'
import type { RouteOptions } from '../context.js'
import { ApiError } from '../errors.js'
import { BACKLOG_EVENTS, type LoggedEvent } from '../event-log.js'
import { ErrorBody } from '../views.js'

const EventsQuery = Type.Object(
  {
    name: Type.Optional(
      Type.String({ description: 'Only these events, separated by commas', maxLength: 2000 }),
    ),
    backlog: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: BACKLOG_EVENTS,
        description: 'Begin with the last N events; default 0',
      }),
    ),
    follow: Type.Optional(
      Type.Boolean({ description: 'false: end after the backlog; default true' }),
    ),
  },
  { additionalProperties: false },
)

export const eventRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, options, done) => {
  const { context } = options
  const open = new Set<ServerResponse>()
  app.addHook('preClose', (closed) => {
    for (const response of open) response.end()
    closed()
  })
  app.get(
    '/v1/events',
    {
      schema: {
        summary: 'Events as they happen (server-sent events)',
        tags: ['events'],
        querystring: EventsQuery,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 64 })) }),
        response: {
          200: {
            description: 'Events: id, event (its name), data (JSON {at, name, severity, …})',
            content: { 'text/event-stream': { schema: Type.String() } },
          },
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    (request, reply) => {
      const names = readNames(request.query.name)
      const wanted = ({ event }: LoggedEvent): boolean => names?.has(event.name) ?? true
      const response = reply.raw
      const send = (entry: LoggedEvent): void => {
        if (wanted(entry)) push(formatEvent(entry))
      }
      const push = (text: string): void => {
        // Its close event comes a turn later than the cut.
        if (response.destroyed) return
        if (response.writableLength > MAXIMUM_UNSENT_BYTES) {
          context.metrics.countDroppedFollower()
          response.destroy()
        } else response.write(text)
      }
      const lastId = request.headers['last-event-id']
      const replay =
        lastId === undefined
          ? { entries: context.events.latest(request.query.backlog ?? 0), missed: 0 }
          : context.events.since(lastId)
      const follow = request.query.follow ?? true
      const stop = follow ? context.events.follow(send) : () => undefined
      if (stop === undefined) {
        throw new ApiError(503, 'too-many-followers', 'too many open event streams')
      }
      reply.hijack()
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      })
      if (replay.missed > 0) {
        response.write(`event: gap\ndata: ${JSON.stringify({ missed: replay.missed })}\n\n`)
      }
      for (const entry of replay.entries) if (wanted(entry)) response.write(formatEvent(entry))
      if (!follow) {
        response.end()
        return
      }
      response.write(': following\n\n')
      const heartbeat = setInterval(() => push(': alive\n\n'), HEARTBEAT_MS)
      heartbeat.unref()
      open.add(response)
      response.on('close', () => {
        clearInterval(heartbeat)
        open.delete(response)
        stop()
      })
    },
  )
  done()
}

function readNames(text: string | undefined): Set<string> | undefined {
  if (text === undefined || text === '') return undefined
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !EVENT_NAMES.some((known) => known === name))
  if (unknown !== undefined) {
    throw new ApiError(400, 'unknown-event-name', `there is no event "${unknown}"`, 'query.name')
  }
  return new Set(names)
}

function formatEvent({ id, at, event }: LoggedEvent): string {
  const data = JSON.stringify({ at: at.toISOString(), ...event })
  return `id: ${id}\nevent: ${event.name}\ndata: ${data}\n\n`
}

/** Choice: several seconds of a busy node; more means that nobody is reading. */
const MAXIMUM_UNSENT_BYTES = 1 << 20

/** Shorter than the idle timeouts of common proxies (30-60 s). */
const HEARTBEAT_MS = 15_000
