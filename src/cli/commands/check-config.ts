/** `godwit check-config`: the same check as the daemon's, without starting anything. */
import type { CliCommand } from '../command.js'
import { CliFailure } from '../failure.js'

export const checkConfigCommands: readonly CliCommand[] = [
  {
    usage: 'check-config <file>',
    summary: 'check a configuration file; all errors at once, exit code 2',
    needsDaemon: false,
    examples: ['godwit check-config /etc/godwit/cloud-a.yaml'],
    async run(context) {
      // Loaded here, because validating takes longer to load than any other command to run.
      const { formatConfigErrors } = await import('../../config/config-error.js')
      const { loadConfig } = await import('../../config/load.js')
      const file = String(context.arguments[0])
      const result = loadConfig(file)
      const errors = result.ok ? [] : result.errors
      if (context.json) {
        context.print(JSON.stringify({ ok: result.ok, errors, warnings: result.warnings }, null, 2))
      } else {
        if (!result.ok) context.print(formatConfigErrors(file, result.errors))
        if (result.warnings.length > 0) {
          context.print(formatConfigErrors(file, result.warnings, 'warning'))
        }
        if (result.ok) {
          const { node, roles } = result.config
          context.print(`${file}: ok, node ${node} (${roles.join(', ')})`)
        }
      }
      if (!result.ok) throw new CliFailure('the configuration is not valid', undefined, 2)
    },
  },
]
