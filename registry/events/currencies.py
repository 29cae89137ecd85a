"""The currencies of ISO 4217, also those that it has withdrawn since 1999, and their Korean names."""

from __future__ import annotations

from typing import Literal

# Codes are added and never removed: a recorded event must always decode.
Currency = Literal[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT",
    "BHD", "BIF", "BMD", "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD",
    "CAD", "CDF", "CHE", "CHF", "CHW", "CLF", "CLP", "CNY", "COP", "COU", "CRC", "CUP",
    "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP",
    "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF",
    "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR",
    "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD",
    "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN",
    "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN",
    "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD",
    "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP",
    "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX",
    "USD", "USN", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAD",
    "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
    # Withdrawn from ISO 4217 since 1999: announcements of before are stated in them.
    "ADP", "AFA", "ANG", "AOR", "ATS", "AZM", "BEF", "BGL", "BGN", "BYB", "BYR", "CSD", "CUC", "CYP", "DEM", "ECS",
    "EEK", "ESP", "FIM", "FRF", "GHC", "GRD", "HRK", "IEP", "ITL", "LTL", "LUF", "LVL", "MGF", "MRO", "MTL", "MZM",
    "NLG", "PTE", "ROL", "RUR", "SDD", "SIT", "SKK", "SLL", "SRG", "STD", "TJR", "TMM", "TPE", "TRL", "VEB", "VEF",
    "YUM", "ZMK", "ZWD", "ZWL",
]  # fmt: skip

KOREAN_NAMES: dict[str, str] = {
    "AED": "아랍에미리트 디르함", "AFN": "아프가니스탄 아프가니", "ALL": "알바니아 레크", "AMD": "아르메니아 드람",
    "AOA": "앙골라 콴자", "ARS": "아르헨티나 페소", "AUD": "호주 달러", "AWG": "아루바 플로린",
    "AZN": "아제르바이잔 마나트", "BAM": "보스니아 헤르체고비나 마르크", "BBD": "바베이도스 달러",
    "BDT": "방글라데시 타카", "BHD": "바레인 디나르", "BIF": "부룬디 프랑", "BMD": "버뮤다 달러",
    "BND": "브루나이 달러", "BOB": "볼리비아 볼리비아노", "BRL": "브라질 레알", "BSD": "바하마 달러",
    "BTN": "부탄 눌트럼", "BWP": "보츠와나 풀라", "BYN": "벨라루스 루블", "BZD": "벨리즈 달러", "CAD": "캐나다 달러",
    "CDF": "콩고 프랑", "CHF": "스위스 프랑", "CLP": "칠레 페소", "CNY": "중국 위안", "COP": "콜롬비아 페소",
    "CRC": "코스타리카 콜론", "CUP": "쿠바 페소", "CVE": "카보베르데 에스쿠도", "CZK": "체코 코루나",
    "DJF": "지부티 프랑", "DKK": "덴마크 크로네", "DOP": "도미니카공화국 페소", "DZD": "알제리 디나르",
    "EGP": "이집트 파운드", "ERN": "에리트리아 나크파", "ETB": "에티오피아 비르", "EUR": "유로", "FJD": "피지 달러",
    "FKP": "포클랜드 제도 파운드", "GBP": "영국 파운드", "GEL": "조지아 라리", "GHS": "가나 세디",
    "GIP": "지브롤터 파운드", "GMD": "감비아 달라시", "GNF": "기니 프랑", "GTQ": "과테말라 케트살",
    "GYD": "가이아나 달러", "HKD": "홍콩 달러", "HNL": "온두라스 렘피라", "HTG": "아이티 구르드",
    "HUF": "헝가리 포린트", "IDR": "인도네시아 루피아", "ILS": "이스라엘 셰켈", "INR": "인도 루피",
    "IQD": "이라크 디나르", "IRR": "이란 리얄", "ISK": "아이슬란드 크로나", "JMD": "자메이카 달러",
    "JOD": "요르단 디나르", "JPY": "일본 엔", "KES": "케냐 실링", "KGS": "키르기스스탄 솜", "KHR": "캄보디아 리엘",
    "KMF": "코모르 프랑", "KPW": "북한 원", "KRW": "대한민국 원", "KWD": "쿠웨이트 디나르", "KYD": "케이맨 제도 달러",
    "KZT": "카자흐스탄 텡게", "LAK": "라오스 키프", "LBP": "레바논 파운드", "LKR": "스리랑카 루피",
    "LRD": "라이베리아 달러", "LSL": "레소토 로티", "LYD": "리비아 디나르", "MAD": "모로코 디르함",
    "MDL": "몰도바 레우", "MGA": "마다가스카르 아리아리", "MKD": "마케도니아 디나르", "MMK": "미얀마 짯",
    "MNT": "몽골 투그릭", "MOP": "마카오 파타카", "MRU": "모리타니 우기야", "MUR": "모리셔스 루피",
    "MVR": "몰디브 루피야", "MWK": "말라위 콰차", "MXN": "멕시코 페소", "MYR": "말레이시아 링깃",
    "MZN": "모잠비크 메티칼", "NAD": "나미비아 달러", "NGN": "나이지리아 나이라", "NIO": "니카라과 코르도바",
    "NOK": "노르웨이 크로네", "NPR": "네팔 루피", "NZD": "뉴질랜드 달러", "OMR": "오만 리알", "PAB": "파나마 발보아",
    "PEN": "페루 솔", "PGK": "파푸아뉴기니 키나", "PHP": "필리핀 페소", "PKR": "파키스탄 루피",
    "PLN": "폴란드 즈워티", "PYG": "파라과이 과라니", "QAR": "카타르 리얄", "RON": "루마니아 레우",
    "RSD": "세르비아 디나르", "RUB": "러시아 루블", "RWF": "르완다 프랑", "SAR": "사우디아라비아 리얄",
    "SBD": "솔로몬 제도 달러", "SCR": "세이셸 루피", "SDG": "수단 파운드", "SEK": "스웨덴 크로나",
    "SGD": "싱가포르 달러", "SHP": "세인트헬레나 파운드", "SLE": "시에라리온 리온", "SOS": "소말리아 실링",
    "SRD": "수리남 달러", "SSP": "남수단 파운드", "STN": "상투메 프린시페 도브라", "SVC": "엘살바도르 콜론",
    "SYP": "시리아 파운드", "SZL": "에스와티니 릴랑게니", "THB": "태국 바트", "TJS": "타지키스탄 소모니",
    "TMT": "투르크메니스탄 마나트", "TND": "튀니지 디나르", "TOP": "통가 파앙가", "TRY": "튀르키예 리라",
    "TTD": "트리니다드 토바고 달러", "TWD": "대만 달러", "TZS": "탄자니아 실링", "UAH": "우크라이나 그리브나",
    "UGX": "우간다 실링", "USD": "미국 달러", "UYU": "우루과이 페소", "UZS": "우즈베키스탄 숨",
    "VED": "베네수엘라 디지털 볼리바르", "VES": "베네수엘라 볼리바르", "VND": "베트남 동", "VUV": "바누아투 바투",
    "WST": "사모아 탈라", "XAF": "중앙아프리카 CFA 프랑", "XCD": "동카리브 달러", "XCG": "카리브 길더",
    "XOF": "서아프리카 CFA 프랑", "XPF": "CFP 프랑", "YER": "예멘 리알", "ZAR": "남아프리카공화국 랜드",
    "ZMW": "잠비아 콰차", "ZWG": "짐바브웨 골드",
    "ADP": "안도라 페세타", "ANG": "네덜란드령 안틸레스 길더", "ATS": "오스트리아 실링", "BEF": "벨기에 프랑",
    "BGN": "불가리아 레프", "CUC": "쿠바 태환 페소", "CYP": "키프로스 파운드", "DEM": "독일 마르크",
    "ECS": "에콰도르 수크레", "EEK": "에스토니아 크룬", "ESP": "스페인 페세타", "FIM": "핀란드 마르카",
    "FRF": "프랑스 프랑", "GRD": "그리스 드라크마", "HRK": "크로아티아 쿠나", "IEP": "아일랜드 파운드",
    "ITL": "이탈리아 리라", "LTL": "리투아니아 리타스", "LUF": "룩셈부르크 프랑", "LVL": "라트비아 라트",
    "MGF": "마다가스카르 프랑", "MTL": "몰타 리라", "NLG": "네덜란드 길더", "PTE": "포르투갈 에스쿠도",
    "SDD": "수단 디나르", "SIT": "슬로베니아 톨라르", "SKK": "슬로바키아 코루나", "SRG": "수리남 길더",
    "TJR": "타지키스탄 루블",
}  # fmt: skip
"""The ordinary Korean name of each currency: that of CLDR, in today's spelling and without "화" and "신".

Funds and units of account ("CLF", "XAD") and currencies whose successor has the same name ("ROL") have none: amounts in
them keep the code.
"""

SHORT_KOREAN_NAMES: dict[str, str] = {
    "KRW": "원", "USD": "달러", "EUR": "유로", "JPY": "엔", "CNY": "위안", "GBP": "파운드",
}  # fmt: skip
"""What Korean amounts say where the country is understood: "50억 달러"."""
