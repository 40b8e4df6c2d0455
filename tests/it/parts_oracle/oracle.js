// Answers how the splitter in the directory given splits each text.
//
//   node oracle.js DIRECTORY_OF_SPLIT_SMS < texts.json > answers.json
//
// The grapheme clusters come from the ICU library that is built into Node.js.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const splitter = require(path.resolve(process.argv[2]));
const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

function answer(text) {
  const { characterSet, parts } = splitter.split(text);
  const isGsm = characterSet === splitter.GSM;
  return {
    encoding: isGsm ? 'GSM7' : 'UCS2',
    parts: parts.map((part) => part.content),
    // The splitter counts octets of UCS-2.
    units: parts.map((part) => (isGsm ? part.bytes : part.bytes / 2)),
    clusters: Array.from(graphemes.segment(text), ({ segment }) => segment),
  };
}

const texts = JSON.parse(fs.readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(texts.map(answer)));
