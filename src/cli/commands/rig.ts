/** `godwit rig`: who in the delegation tree says what about an EID (RFC 8112). */
import { formatAddressText, parseEidText } from '../../config/address-text.js'
import { coloured, formatDuration, formatLocators } from '../columns.js'
import { type CliCommand, type CommandContext, numberOption } from '../command.js'
import { CliFailure } from '../failure.js'
import { followReferrals, type RigResult, type RigStep } from '../rig-query.js'
import { addressOption, countOption } from './lig.js'

export const rigCommands: readonly CliCommand[] = [
  {
    usage: 'rig <eid>',
    summary: 'follow the referrals of the delegation tree for an EID (RFC 8112)',
    needsDaemon: false,
    options: [
      ['--to <ddt-node>', 'the DDT node to begin with, as a root'],
      ['--instance-id <number>', 'instance-ID of an EID without brackets'],
      ['--from <rloc>', 'our address for the answers'],
      ['-c, --count <number>', 'ask each node this often at most (default 3)'],
      ['--timeout <ms>', 'wait this long per try (default 1000)'],
      ['--all', 'ask every node of a referral, not only the first that answers'],
      ['--no-follow', 'ask the one node and stop'],
      ['--port <number>', 'UDP port of the nodes (default 4342)'],
    ],
    examples: [
      "godwit rig '[7]10.20.0.2' --to 172.16.9.1",
      'godwit rig 10.1.0.5 --to 192.0.2.1 --all',
    ],
    run: runRig,
  },
]

async function runRig(context: CommandContext): Promise<void> {
  const text = String(context.arguments[0])
  const eid = parseEidText(text, numberOption(context, 'instanceId') ?? 0)
  if (eid === undefined) throw new CliFailure(`"${text}" is not an EID`, 'as [7]10.20.0.2', 2)
  const ddtNode = addressOption(context, 'to')
  if (ddtNode === undefined) {
    throw new CliFailure('--to is missing', 'name a DDT node to begin with, as a root', 2)
  }
  const result = await followReferrals({
    eid,
    ddtNode,
    from: addressOption(context, 'from'),
    port: numberOption(context, 'port'),
    tries: countOption(context),
    waitMs: numberOption(context, 'timeout'),
    follow: context.options['follow'] !== false,
    all: context.options['all'] === true,
  }).catch((cause: Error) => {
    throw new CliFailure(`cannot ask ${formatAddressText(ddtNode)}: ${cause.message}`)
  })
  if (context.json) context.print(JSON.stringify({ eid: text, ...result }, null, 2))
  else {
    for (const step of result.steps) context.print(formatStep(step, context.colour))
    context.print(`${text}: ${MEANING[result.end]}`)
  }
  if (FAILED.has(result.end)) throw new CliFailure(`the search ended with ${result.end}`)
}

const FAILED: ReadonlySet<RigResult['end']> = new Set(['no-answer', 'loop', 'too-deep'])

const MEANING: { readonly [end in RigResult['end']]: string } = {
  'ms-ack': 'registered; the Map-Server has sent the request to its ETR',
  'ms-not-registered': 'of a site, but not registered',
  'delegation-hole': 'not delegated to anybody',
  'not-authoritative': 'the last node is not responsible for it',
  'node-referral': 'referred to further nodes',
  'ms-referral': 'referred to Map-Servers',
  'no-answer': 'no answer',
  loop: 'the last referral leads no further down: a loop',
  'too-deep': 'too many referrals',
  'not-followed': 'referred further; not followed',
}

function formatStep({ depth, node, referral }: RigStep, colour: boolean): string {
  const indent = '  '.repeat(depth)
  if (referral === undefined) return `${indent}${node}  ${coloured(colour, 'red', 'no answer')}`
  const { action, eidPrefix, ttlMinutes, roundTripMs, locators } = referral
  const facts = [
    `ttl ${ttlMinutes} min`,
    referral.incomplete ? 'incomplete' : '',
    referral.signatures > 0 ? `${referral.signatures} signed` : '',
    formatDuration(roundTripMs),
  ].filter((fact) => fact !== '')
  const from = referral.from === node ? '' : ` (from ${referral.from})`
  const name = coloured(colour, 'bold', action)
  const head = `${indent}${node}${from}  ${name} ${eidPrefix}  ${facts.join(', ')}`
  if (locators.length === 0) return head
  return `${head}\n${formatLocators(locators).replace(/^/gm, `${indent}    `)}`
}
