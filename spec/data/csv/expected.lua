-- What is in the CSV files of this folder: of each row its line, the place of its first byte, its
-- account and its attributes in the order of their names (`-name`: to be removed), or the code of a
-- row that is bad; or, in place of rows, what is wrong with the header. `options` are csv.open's.

return {
  ["plain"] = {
    rows = {
      "2@20 a city=Osaka sex=m",
      "3@30 b city=Kyoto sex=f",
    },
  },
  ["no-newline-at-end"] = {
    rows = {
      "2@20 a city=Osaka sex=m",
    },
  },
  ["header-alone"] = {
    rows = {},
  },
  ["crlf"] = {
    rows = {
      "2@21 a city=Osaka sex=m",
      "3@32 b city=K sex=f",
      "4@41 c",
    },
  },
  ["crlf-and-lf"] = {
    rows = {
      "2@21 a city=Osaka sex=m",
      "3@31 b city=Nara sex=f",
    },
  },
  ["byte-order-mark"] = {
    rows = {
      "2@23 a city=Osaka sex=m",
    },
  },
  ["byte-order-mark-and-quotes"] = {
    rows = {
      "2@23 a sex=m",
    },
  },
  ["blank-lines"] = {
    rows = {
      "5@24 a city=Osaka sex=m",
      "8@37 b city=x sex=f",
    },
  },
  ["empty-cells"] = {
    rows = {
      "2@20 a city=Osaka",
      "3@29 b sex=f",
      "4@34 c",
      "5@38  city=x sex=m",
      "6@43 d city=y",
    },
  },
  ["blanks"] = {
    rows = {
      "2@20  a  city=Osaka  sex= m",
      "3@34 b  city= x sex=f",
    },
  },
  ["quotes"] = {
    rows = {
      "2@20 a city=Osaka, Japan sex=m",
      "3@43 b city=\"x\" sex=f",
      "4@55 c city=\" sex=m",
      "5@64 d city=a\"b\"c sex=f",
    },
  },
  ["newlines-in-quotes"] = {
    rows = {
      "2@20 a city=Osaka\nJapan sex=m",
      "4@38 b city=x\r\ny sex=f",
      "6@49 c\n city=\n\n sex=m",
      "10@61 d city=z sex=f",
    },
  },
  ["doubled-quotes-over-lines"] = {
    rows = {
      "2@20 a city=say \"hi\"\n\"there\" sex=m",
      "4@47 b city=y sex=f",
    },
  },
  ["quoted-header"] = {
    rows = {
      "2@32 x a \"b\", c=1 sex=m",
    },
  },
  ["utf-8"] = {
    rows = {
      "2@20 \229\177\177\231\148\176 city=\229\164\167\233\152\170 sex=\231\148\183",
      "3@38 \195\133sa city=Malm\195\182 sex=\226\153\128",
      "4@54 \240\159\152\128 city=n\204\131 sex=m",
    },
  },
  ["lone-return"] = {
    rows = {
      "2@20 a city=x\ry sex=m",
    },
  },
  ["semicolons"] = {
    options = { delimiter = ";" },
    rows = {
      "2@21 a city=Osaka; Japan sex=m",
      "3@41 b city=1,5 sex=f",
    },
  },
  ["tabs"] = {
    options = { delimiter = "\t" },
    rows = {
      "2@20 a city=Osaka, Japan sex=m",
      "3@37 b city=x\ty",
    },
  },
  ["pipes"] = {
    options = { delimiter = "|" },
    rows = {
      "2@15 a sex=m",
      "3@19 b sex=x|y",
    },
  },
  ["other-names"] = {
    options = { columns = { To_Account = "uid", city = "town" } },
    rows = {
      "2@14 a city=Osaka tier=1",
      "3@24 b tier=2",
    },
  },
  ["account-not-first"] = {
    options = { columns = { To_Account = "uid", city = "town" } },
    rows = {
      "2@14 a city=Osaka tier=1",
      "3@24 b SHORT_ROW",
      "4@31 c tier=3",
    },
  },
  ["null-cells"] = {
    options = { null = "\\N" },
    rows = {
      "2@20 a city=Osaka -sex",
      "3@31 b -city -sex",
      "4@39 c city=\\N x -sex",
      "5@51 d sex=m",
    },
  },
  ["rejects-file"] = {
    rows = {
      "2@32 a sex=m",
      "3@73 b sex=f",
      "4@80 c SHIFTED_ROW",
      "5@105 d SHORT_ROW",
    },
  },
  ["narrow-and-wide"] = {
    rows = {
      "2@20 a SHORT_ROW",
      "3@24 b SHORT_ROW",
      "4@26 c city=x sex=f",
      "5@32 d LONG_ROW",
      "6@40 e LONG_ROW",
      "7@46 f SHORT_ROW",
    },
  },
  ["bare-quote"] = {
    rows = {
      "2@20 - BARE_QUOTE",
      "3@27 b city=y sex=f",
      "4@33 - BARE_QUOTE",
      "5@43 d city=z sex=m",
    },
  },
  ["text-after-quote"] = {
    rows = {
      "2@20 - TEXT_AFTER_QUOTE",
      "3@29 b city=y sex=f",
      "4@35 - TEXT_AFTER_QUOTE",
      "5@44 - TEXT_AFTER_QUOTE",
      "6@49 - BARE_QUOTE",
      "7@55 e city=w sex=f",
    },
  },
  ["open-quote"] = {
    rows = {
      "2@20 - OPEN_QUOTE",
      "3@27 b city=y sex=f",
      "4@33 c city=z sex=m",
    },
  },
  ["open-quote-at-end"] = {
    rows = {
      "2@20 a city=x sex=m",
      "3@26 - OPEN_QUOTE",
    },
  },
  ["open-quote-into-another"] = {
    rows = {
      "2@20 - OPEN_QUOTE",
      "3@27 b city=y sex=f",
      "4@33 c city=z sex=m",
      "5@41 d city=w sex=f",
    },
  },
  ["two-open-quotes"] = {
    rows = {
      "2@20 - TEXT_AFTER_QUOTE",
      "3@27 b city=y sex=f",
      "4@33 - OPEN_QUOTE",
      "5@40 d city=w sex=f",
    },
  },
  ["nul-bytes"] = {
    rows = {
      "2@20 - NUL_BYTE",
      "3@28 b city=z sex=f",
      "4@34 - NUL_BYTE",
      "5@42 - NUL_BYTE",
      "7@52 e city=w sex=f",
    },
  },
  ["latin-1"] = {
    rows = {
      "2@20 a city=M\252nchen sex=m",
      "3@32 \255 city=x sex=m",
    },
  },
  ["utf-16"] = {
    fault = "header: not UTF-8 text (UTF-16?); save the file as UTF-8",
  },
  ["returns-alone"] = {
    fault = "header: lines end in a carriage return alone; save the file with LF or CRLF",
  },
  ["semicolons-untold"] = {
    fault = "header: columns are separated by \";\", must be commas; or give --delimiter ';'",
  },
  ["tabs-untold"] = {
    fault = "header: columns are separated by tabs, must be commas; or give --delimiter tab",
  },
  ["commas-untold"] = {
    options = { delimiter = ";" },
    fault = "header: columns are separated by commas, must be \";\"; or give --delimiter ','",
  },
  ["unknown-name"] = {
    options = { columns = { To_Account = "uid", city = "place" } },
    fault = "--columns: no column is named place; there are: uid, town",
  },
  ["names-meet"] = {
    options = { columns = { To_Account = "uid", city = "town" } },
    fault = "header: columns 2 and 3 are both named city",
  },
  ["empty"] = {
    fault = "input is empty",
  },
}
