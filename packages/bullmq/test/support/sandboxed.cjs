// A processor in a file of its own: notes that it began, and waits for its gate.
const { appendFileSync, existsSync } = require('node:fs')
const { join } = require('node:path')

module.exports = async ({ id, data: { folder, gate } }) => {
  const note = (what) =>
    appendFileSync(join(folder, 'ledger'), `\n${JSON.stringify({ what, job: id, pid: process.pid })};\n`)
  note('start')
  while (!existsSync(join(folder, `gate-${gate}`))) await new Promise((resolve) => setTimeout(resolve, 20))
  note('finish')
}
