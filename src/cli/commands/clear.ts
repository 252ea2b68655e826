/** `godwit clear …`: make a node forget what it can learn again. */
import { type CliCommand, numberOption, queryString } from '../command.js'

export const clearCommands: readonly CliCommand[] = [
  {
    usage: 'clear map-cache [prefix]',
    summary: 'forget all learned mappings, or one',
    options: [['--instance-id <number>', 'instance-ID of a prefix without brackets']],
    examples: ['godwit clear map-cache', "godwit clear map-cache '[7]10.20.0.0/24'"],
    async run(context) {
      const [prefix] = context.arguments
      const query = queryString({ instanceId: numberOption(context, 'instanceId') })
      const path =
        typeof prefix === 'string'
          ? `/v1/map-cache/${encodeURIComponent(prefix)}${query}`
          : '/v1/map-cache'
      await context.client().delete(path)
      const what = typeof prefix === 'string' ? prefix : 'map-cache'
      context.print(context.json ? '{"ok": true}' : `${what} cleared`)
    },
  },
]
