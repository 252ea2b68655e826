/**
 * `/v1/workloads`: a virtual machine is announced here by its own description, a libvirt domain XML
 * or an OVF envelope, and withdrawn when it is removed.
 *
 * All of its EIDs or none: what one of them is refused for, the whole is refused for. The domain
 * XML names its EIDs in <metadata>, the envelope in properties (src/workload).
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { parsePrefixText, prefixCoversAddress } from '../../config/address-text.js'
import { Type } from '../../config/schema-builder.js'
import { type Eid, formatEid, hostPrefix } from '../../lisp/eid.js'
import { readWorkload } from '../../workload/workload-description.js'
import { MAXIMUM_XML_CHARACTERS } from '../../workload/xml-reader.js'
import { type ApiContext, type RouteOptions, runCommand } from '../context.js'
import { ApiError } from '../errors.js'
import { errorResponses } from '../views.js'
import { createWorkloadBook, MAXIMUM_WORKLOADS, type Workload } from '../workload-book.js'

const WorkloadEntry = Type.Object({
  workloadId: Type.String({ description: 'The UUID of a domain, else its name' }),
  name: Type.String(),
  kind: Type.Enum(['domain', 'ovf'] as const),
  eids: Type.Array(Type.String()),
})
type WorkloadView = { workloadId: string; name: string; kind: 'domain' | 'ovf'; eids: string[] }

const WorkloadParams = Type.Object({ workloadId: Type.String({ minLength: 1, maxLength: 256 }) })

export const workloadRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  const book = createWorkloadBook(context.workloads)
  // For these routes alone; everything else stays JSON and small.
  app.addContentTypeParser(
    ['application/xml', 'text/xml', 'application/ovf+xml'],
    { parseAs: 'string', bodyLimit: BODY_LIMIT_BYTES },
    (_request, body, parsed) => parsed(null, body),
  )
  app.get(
    '/v1/workloads',
    {
      schema: {
        summary: 'Workloads announced here and not withdrawn, by earlier runs as well',
        tags: ['workloads'],
        response: { 200: Type.Object({ workloads: Type.Array(WorkloadEntry) }), ...errorResponses },
      },
    },
    () => ({ workloads: book.list().map(viewOf) }),
  )
  app.post(
    '/v1/workloads',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        summary: 'Announce the EIDs of a machine by its libvirt domain XML or OVF envelope',
        tags: ['workloads'],
        body: Type.String({ description: 'XML (application/xml), at most 1 MB, no document type' }),
        response: { 201: WorkloadEntry, ...errorResponses },
      },
    },
    async ({ body }, reply) => {
      const result = readWorkload(body)
      if (!result.ok)
        throw new ApiError(400, 'bad-description', `the description ${result.problem}`, 'body')
      const { name, uuid, kind, eids } = result.workload
      const workloadId = uuid ?? name
      if (workloadId === '' || workloadId.length > 256)
        throw new ApiError(400, 'bad-description', 'the description has no usable name', 'body')
      if (eids.length === 0)
        throw new ApiError(400, 'no-eids', 'the description names no EIDs', 'body')
      const workload: Workload = { workloadId, name: name.slice(0, 256), kind, eids }
      await announce(context, book.get(workloadId), workload)
      const isKept = await book.put(workload).catch(async (cause: unknown) => {
        await withdraw(context, eids)
        throw cause
      })
      if (!isKept) {
        await withdraw(context, eids)
        throw new ApiError(503, 'too-many-workloads', `more than ${MAXIMUM_WORKLOADS} workloads`)
      }
      return reply.code(201).send(viewOf(workload))
    },
  )
  app.delete(
    '/v1/workloads/:workloadId',
    {
      schema: {
        summary: 'Withdraw all EIDs of a machine that was removed',
        tags: ['workloads'],
        params: WorkloadParams,
        response: { 200: WorkloadEntry, ...errorResponses },
      },
    },
    async ({ params }) => {
      const workload = book.get(params.workloadId)
      if (workload === undefined)
        throw new ApiError(404, 'workload-not-found', `no workload ${params.workloadId}`)
      await withdraw(context, workload.eids)
      await book.remove(workload.workloadId)
      return viewOf(workload)
    },
  )
  done()
}

/** Adds all EIDs, or takes back those that were added and throws why; then drops former ones. */
async function announce(
  context: ApiContext,
  former: Workload | undefined,
  { eids }: Workload,
): Promise<void> {
  const places = eids.map((eid) => ({ eid, interfaceName: placeOf(context, eid) }))
  const known = new Set((former?.eids ?? []).map(formatEid))
  const added: Eid[] = []
  for (const { eid, interfaceName } of places) {
    try {
      await runCommand(context, { kind: 'add-eid', eidPrefix: hostPrefix(eid), interfaceName })
    } catch (cause) {
      await withdraw(context, added)
      throw cause
    }
    if (!known.has(formatEid(eid))) added.push(eid)
  }
  const now = new Set(eids.map(formatEid))
  await withdraw(context, former?.eids.filter((eid) => !now.has(formatEid(eid))) ?? [])
}

async function withdraw(context: ApiContext, eids: readonly Eid[]): Promise<void> {
  for (const eid of eids) {
    try {
      await runCommand(context, { kind: 'remove-eid', eidPrefix: hostPrefix(eid) })
    } catch (cause) {
      // It has left, or somebody removed it: nothing is to be withdrawn.
      if (!(cause instanceof ApiError) || cause.status >= 500) throw cause
    }
  }
}

/** The interface of the configured dynamic-EID prefix that has this EID; 403 when none has. */
function placeOf({ config }: ApiContext, eid: Eid): string {
  const found = (config.dynamicEidPrefixes ?? []).find(({ prefix, instanceId = 0 }) => {
    const parsed = parsePrefixText(prefix)
    return (
      instanceId === eid.instanceId &&
      parsed !== undefined &&
      prefixCoversAddress(parsed, eid.address)
    )
  })
  if (found !== undefined) return found.interface
  const message = `${formatEid(eid)} is in no dynamic-EID prefix of this node`
  throw new ApiError(403, 'eid-not-allowed', message, 'body')
}

function viewOf({ workloadId, name, kind, eids }: Workload): WorkloadView {
  return { workloadId, name, kind, eids: eids.map(formatEid) }
}

/** A character of XML may be four bytes; longer ones are refused by the reader. */
const BODY_LIMIT_BYTES = 4 * MAXIMUM_XML_CHARACTERS
