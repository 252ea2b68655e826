/**
 * `godwit lig`: what does the mapping system say about an EID? Asked by the daemon, as it would ask
 * for a packet, or with `--to` by this command itself. No table changes either way.
 */
import {
  formatAddressText,
  formatEidPrefixText,
  parseAddressText,
  parseEidText,
} from '../../config/address-text.js'
import type { IpAddress } from '../../lisp/address.js'
import type { Eid } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'
import { formatLocators, formatPrefix } from '../columns.js'
import { type CliCommand, type CommandContext, numberOption, textOption } from '../command.js'
import { CliFailure } from '../failure.js'
import { queryMapping } from '../lig-query.js'

export const ligCommands: readonly CliCommand[] = [
  {
    usage: 'lig <eid>',
    summary: 'ask the mapping system where an EID is (RFC 6835); "self": our own EIDs',
    options: [
      ['--instance-id <number>', 'instance-ID of an EID without brackets'],
      ['-m, --to <map-resolver>', 'ask this Map-Resolver directly; no daemon is needed'],
      ['--from <rloc>', 'our address for the answer, with --to'],
      ['-c, --count <number>', 'with --to: ask this often until an answer comes (default 3)'],
      ['--timeout <ms>', 'with --to: wait this long per try (default 1000)'],
      ['-a, --authoritative', 'with --to: only an ETR shall answer (A bit)'],
    ],
    examples: [
      'godwit lig 10.20.0.2 --instance-id 7',
      "godwit lig '[7]10.20.0.2' -m 172.16.4.1 -c 5",
      'godwit lig self',
    ],
    run: (context) => {
      if (context.arguments[0] === 'self') return askSelf(context)
      return textOption(context, 'to') === undefined ? askDaemon(context) : askMapResolver(context)
    },
  },
]

/** A mapping as both ways of asking show it. */
interface MappingAnswer {
  readonly eidPrefix: string
  readonly ttlMinutes?: number
  readonly action?: string
  readonly authoritative?: boolean
  readonly mapVersion?: number
  readonly locators: readonly {
    rloc: string
    priority: number
    weight: number
    reachable: boolean
  }[]
}

async function askDaemon(context: CommandContext): Promise<void> {
  const instanceId = numberOption(context, 'instanceId')
  const answer = await context
    .client()
    .post<{ eid: string; tookMs: number; result: unknown }>('/v1/queries', {
      eid: String(context.arguments[0]),
      ...(instanceId === undefined ? {} : { instanceId }),
    })
  if (context.json) return context.print(JSON.stringify(answer, null, 2))
  context.print(`${answer.eid}: answered in ${answer.tookMs} ms`)
  const mappings = mappingsIn(answer.result)
  if (mappings.length === 0) context.print(JSON.stringify(answer.result, null, 2))
  for (const mapping of mappings) context.print(formatMapping(mapping))
}

async function askMapResolver(context: CommandContext): Promise<void> {
  const instanceId = numberOption(context, 'instanceId') ?? 0
  const text = String(context.arguments[0])
  const eid = parseEidText(text, instanceId)
  if (eid === undefined) throw new CliFailure(`"${text}" is not an EID`, 'as [7]10.20.0.2', 2)
  const answer = await direct(context, eid)
  const { from, tookMs, tries, mappings } = answer
  if (context.json) {
    return context.print(JSON.stringify({ eid: text, from, tookMs, tries, mappings }, null, 2))
  }
  const again = tries > 1 ? ` (try ${tries})` : ''
  context.print(`${text}: answered by ${from} in ${tookMs} ms${again}`)
  for (const mapping of mappings) context.print(formatMapping(mapping))
}

interface DirectAnswer {
  readonly from: string
  readonly tookMs: number
  readonly tries: number
  readonly mappings: MappingAnswer[]
}

async function direct(context: CommandContext, eid: Eid): Promise<DirectAnswer> {
  const mapResolver = addressOption(context, 'to')!
  const from = addressOption(context, 'from')
  const waitMs = numberOption(context, 'timeout')
  const answer = await queryMapping({
    eid,
    mapResolver,
    authoritative: context.options['authoritative'] === true,
    tries: countOption(context),
    ...(from === undefined ? {} : { from }),
    ...(waitMs === undefined ? {} : { waitMs }),
  }).catch((cause: Error) => {
    throw new CliFailure(`cannot ask ${formatAddressText(mapResolver)}: ${cause.message}`)
  })
  if (answer === undefined) {
    throw new CliFailure(
      `no answer from ${formatAddressText(mapResolver)}`,
      'is it a Map-Resolver, and can it (and the ETR) reach the address given by --from?',
    )
  }
  const tookMs = Math.round(answer.tookMs * 10) / 10
  return { from: answer.from, tries: answer.tries, tookMs, mappings: answer.mappings.map(viewOf) }
}

/** What RFC 6835 §4.3 calls "lig self": does the mapping system know our EIDs where they are? */
async function askSelf(context: CommandContext): Promise<void> {
  const { mappingDatabase } = await context
    .client()
    .get<{ mappingDatabase: OwnEntry[] }>('/v1/mapping-database?limit=1000')
  const own = mappingDatabase.filter(({ kind, state }) => {
    return kind !== 'dynamic-prefix' && state === 'local'
  })
  const findings = []
  for (const entry of own) findings.push(await findingOf(context, entry))
  if (context.json) context.print(JSON.stringify({ self: findings }, null, 2))
  else if (own.length === 0) context.print('no EID-prefixes are here')
  else
    for (const { eidPrefix, verdict, tookMs } of findings) {
      context.print(`${eidPrefix}  ${verdict}${tookMs === undefined ? '' : `  ${tookMs} ms`}`)
    }
  const wrong = findings.filter(({ verdict }) => verdict !== 'registered')
  if (wrong.length > 0) throw new CliFailure(`${wrong.length} of ${own.length} are not registered`)
}

interface OwnEntry {
  readonly eidPrefix: string
  readonly instanceId: number
  readonly kind: string
  readonly state: string
  readonly locators: readonly { readonly rloc: string }[]
}

async function findingOf(context: CommandContext, entry: OwnEntry) {
  const eidPrefix = formatPrefix(entry)
  const text = entry.eidPrefix.replace(/\/\d+$/, '')
  const { tookMs, mappings } =
    textOption(context, 'to') === undefined
      ? await throughDaemon(context, text, entry.instanceId)
      : await direct(context, parseEidText(text, entry.instanceId)!)
  const found = mappings.flatMap(({ locators }) => locators.map(({ rloc }) => rloc))
  const verdict = found.some((rloc) => entry.locators.some((one) => one.rloc === rloc))
    ? 'registered'
    : found.length > 0
      ? `elsewhere: ${found.join(' ')}`
      : 'not registered'
  return { eidPrefix, verdict, tookMs, mappings }
}

async function throughDaemon(context: CommandContext, eid: string, instanceId: number) {
  const answer = await context
    .client()
    .post<{ tookMs: number; result: unknown }>('/v1/queries', { eid, instanceId })
    .catch((cause: unknown) => {
      // No answer at all is a finding here, not the end.
      if (cause instanceof CliFailure) return undefined
      throw cause
    })
  return { tookMs: answer?.tookMs, mappings: mappingsIn(answer?.result) }
}

/** An address option, or undefined when it was not given. Throws a `CliFailure` for other text. */
export function addressOption(context: CommandContext, name: string): IpAddress | undefined {
  const text = textOption(context, name)
  if (text === undefined) return undefined
  const address = parseAddressText(text)
  if (address === undefined) {
    throw new CliFailure(`--${name} "${text}" is not an address`, 'as 172.16.4.1', 2)
  }
  return address
}

/** `--count`: 1–100, default 3 (RFC 6835 §4.1). */
export function countOption(context: CommandContext): number {
  const count = numberOption(context, 'count') ?? 3
  if (Number.isInteger(count) && count >= 1 && count <= 100) return count
  throw new CliFailure(`--count ${count} is not within 1..100`, 'as 3', 2)
}

function viewOf(mapping: Mapping): MappingAnswer {
  return {
    eidPrefix: formatEidPrefixText(mapping.eidPrefix),
    ttlMinutes: mapping.ttlMinutes,
    action: mapping.action,
    authoritative: mapping.authoritative,
    mapVersion: mapping.mapVersion,
    locators: mapping.locators.map(({ rloc, priority, weight, reachable }) => ({
      rloc: formatAddressText(rloc),
      priority,
      weight,
      reachable,
    })),
  }
}

/** The node may answer with one mapping, a list, or a list inside an object. */
function mappingsIn(result: unknown): MappingAnswer[] {
  if (Array.isArray(result)) return result.flatMap(mappingsIn)
  if (typeof result !== 'object' || result === null) return []
  if ('eidPrefix' in result && 'locators' in result && Array.isArray(result.locators)) {
    return [result as MappingAnswer]
  }
  return Object.values(result).filter(Array.isArray).flatMap(mappingsIn)
}

function formatMapping(mapping: MappingAnswer): string {
  const facts = [
    mapping.ttlMinutes === undefined ? '' : `ttl ${mapping.ttlMinutes} min`,
    mapping.mapVersion ? `version ${mapping.mapVersion}` : '',
    mapping.authoritative ? 'authoritative' : '',
  ].filter((fact) => fact !== '')
  const heading = [mapping.eidPrefix, facts.join(', ')].filter((part) => part !== '').join('  ')
  const body =
    mapping.locators.length === 0
      ? `negative: ${mapping.action ?? 'no-action'}`
      : formatLocators(mapping.locators)
  return `${heading}\n${body.replace(/^/gm, '  ')}`
}
