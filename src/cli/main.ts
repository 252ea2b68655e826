#!/usr/bin/env node
/**
 * `godwit`, the operator's command, as a process: the words of its command line, its output, its exit
 * code. What it does stands in command-line.ts.
 */
import { wantsColour } from './columns.js'
import { runCommandLine } from './command-line.js'

// A reader that has seen enough ("| head") is no error.
process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  if (cause.code === 'EPIPE') process.exit(0)
  throw cause
})

process.exitCode = await runCommandLine(process.argv.slice(2), {
  print: (text) => void process.stdout.write(`${text}\n`),
  complain: (text) => void process.stderr.write(text),
  colour: wantsColour(),
})
