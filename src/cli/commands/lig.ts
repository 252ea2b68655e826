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
import type { Mapping } from '../../lisp/mapping.js'
import { formatLocators } from '../columns.js'
import { type CliCommand, type CommandContext, numberOption, textOption } from '../command.js'
import { CliFailure } from '../failure.js'
import { queryMapping } from '../lig-query.js'

export const ligCommands: readonly CliCommand[] = [
  {
    usage: 'lig <eid>',
    summary: 'ask the mapping system where an EID is (RFC 6835)',
    options: [
      ['--instance-id <number>', 'instance-ID of an EID without brackets'],
      ['--to <map-resolver>', 'ask this Map-Resolver directly; no daemon is needed'],
      ['--from <rloc>', 'our address for the answer, with --to'],
      ['--timeout <ms>', 'wait this long per try, with --to (default 1000, three tries)'],
    ],
    examples: ['godwit lig 10.20.0.2 --instance-id 7', "godwit lig '[7]10.20.0.2' --to 172.16.4.1"],
    run: (context) =>
      textOption(context, 'to') === undefined ? askDaemon(context) : askMapResolver(context),
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
  const mapResolver = addressOption(context, 'to')
  const from =
    textOption(context, 'from') === undefined ? undefined : addressOption(context, 'from')
  const waitMs = numberOption(context, 'timeout')
  const answer = await queryMapping({
    eid,
    mapResolver,
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
  const mappings = answer.mappings.map(viewOf)
  const tookMs = Math.round(answer.tookMs * 10) / 10
  if (context.json) {
    return context.print(
      JSON.stringify({ eid: text, from: answer.from, tookMs, mappings }, null, 2),
    )
  }
  context.print(`${text}: answered by ${answer.from} in ${tookMs} ms`)
  for (const mapping of mappings) context.print(formatMapping(mapping))
}

function addressOption(context: CommandContext, name: string): IpAddress {
  const text = textOption(context, name) ?? ''
  const address = parseAddressText(text)
  if (address === undefined) {
    throw new CliFailure(`--${name} "${text}" is not an address`, 'as 172.16.4.1', 2)
  }
  return address
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
