/**
 * `/v1/endpoints/events`: what a hypervisor says of its endpoints while they migrate.
 *
 * `stopped` and `resumed` go to the node that the endpoint leaves, `running` to the one it comes to.
 * Each may be lost, late or said twice; a move ends well without any of them, only less exactly.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { Command } from '../../control/command.js'
import { OLDEST_EVENT_MS } from '../../control/moves/endpoint-events.js'
import { type Eid, MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import { type ApiContext, type RouteOptions, runCommand } from '../context.js'
import { entryOf } from '../move-entry.js'
import { readEid } from '../selection.js'
import { errorResponses, MoveEntry, type MoveEntryView } from '../views.js'

const EndpointEvent = Type.Object(
  {
    event: Type.Enum(['stopped', 'running', 'resumed'] as const),
    eids: Type.Array(Type.String(), { minItems: 1, maxItems: MAXIMUM_ENDPOINT_EIDS }),
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    agoMs: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 60_000,
        description: 'stopped, resumed: so long ago; default 0',
      }),
    ),
    saidAtMs: Type.Optional(
      Type.Number({
        minimum: 0,
        description:
          'CLOCK_MONOTONIC of this host when agoMs was true: what the words waited since is added',
      }),
    ),
    gone: Type.Optional(
      Type.Boolean({ description: 'stopped: it will not run here again (migrated)' }),
    ),
  },
  { additionalProperties: false },
)

export const endpointEventRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.post(
    '/v1/endpoints/events',
    {
      schema: {
        summary: 'An endpoint stopped, runs or runs again; answers with the moves concerned',
        tags: ['moves'],
        body: EndpointEvent,
        response: { 200: Type.Object({ moves: Type.Array(MoveEntry) }), ...errorResponses },
      },
    },
    async ({ body }) => {
      const eids = body.eids.map((text, index) =>
        readEid(text, body.instanceId, `body.eids[${index}]`),
      )
      return { moves: await tellEndpointEvent(context, commandOf(body, eids)) }
    },
  )
  done()
}

/** Runs the command; the moves that it concerned as they stand after it. */
export async function tellEndpointEvent(
  context: ApiContext,
  command: Command,
): Promise<MoveEntryView[]> {
  const value = (await runCommand(context, command)) as { readonly moves?: readonly string[] }
  const names = value?.moves ?? []
  const now = Date.now()
  return names.flatMap((name) => {
    const move = context.node.tables.move(name)
    return move === undefined ? [] : [entryOf(move, now)]
  })
}

function commandOf(
  body: {
    readonly event: string
    readonly agoMs?: number
    readonly saidAtMs?: number
    readonly gone?: boolean
  },
  eids: readonly Eid[],
): Command {
  if (body.event === 'running') return { kind: 'endpoint-running', eids }
  if (body.event === 'resumed') return { kind: 'endpoint-resumed', eids, agoMs: body.agoMs ?? 0 }
  const gone = body.gone === true
  const agoMs = Math.min((body.agoMs ?? 0) + waitedMs(body.saidAtMs), OLDEST_EVENT_MS)
  return { kind: 'endpoint-stopped', eids, agoMs, gone }
}

/**
 * How long the words were on their way here. When a host is emptied, events queue up behind each other,
 * and a stop that seems younger than it is would cost the packets of the difference. The clock of
 * another host shows as nonsense and counts for nothing.
 */
function waitedMs(saidAtMs: number | undefined): number {
  if (saidAtMs === undefined) return 0
  const waited = Number(process.hrtime.bigint()) / 1e6 - saidAtMs
  return waited >= 0 && waited <= LONGEST_WAIT_MS ? waited : 0
}

/** Longer than anybody waits for an answer. */
const LONGEST_WAIT_MS = 30_000
